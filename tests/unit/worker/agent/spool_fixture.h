// A spool in a directory of its own, with short words for what is done to an attempt.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {

class SpoolTest : public AgentFixture {
 protected:
  static std::vector<std::uint64_t> SeqsOf(const std::vector<v1::Record>& records) {
    std::vector<std::uint64_t> seqs;
    for (const v1::Record& record : records) seqs.push_back(record.seq());
    return seqs;
  }

  void BeginAttempt(const AttemptKey& key) {
    const absl::Status status = spool_->Begin(key, Started());
    ASSERT_TRUE(status.ok()) << status;
  }
  void BeginAttempt() { BeginAttempt(key_); }

  void AppendChunks(int count) {
    for (int i = 0; i < count; ++i) {
      const absl::Status status = spool_->AppendChunk(key_, ChunkAt(std::chrono::milliseconds(1000 * i)));
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  void Acknowledge(std::vector<std::uint64_t> seqs) { spool_->Acknowledge(key_, seqs); }

  [[nodiscard]] std::vector<std::string> SegmentFiles() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(AttemptDirectory(key_))) {
      if (entry.path().extension() == ".seg") names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }
};

}  // namespace ballast::agent
