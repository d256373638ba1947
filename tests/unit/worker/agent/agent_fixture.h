// A data directory that goes away with the test, and records to put there.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/metrics/chunk_codec.h"
#include "worker/agent/spool.h"
#include "worker/agent/spool_reader.h"

namespace ballast::agent {

inline constexpr std::chrono::seconds kPatience(30);

class AgentFixture : public testing::Test {
 protected:
  AgentFixture() {
    std::string name = testing::TempDir() + "/ballast_agent_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~AgentFixture() override {
    spool_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Opens the spool, as after a start of the worker; what is open already is closed first.
  void OpenSpool(SpoolOptions options = {}) {
    spool_.reset();
    cut_off_.clear();
    options.directory = directory_;
    auto spool = Spool::Open(std::move(options), &cut_off_);
    ASSERT_TRUE(spool.ok()) << spool.status();
    spool_ = *std::move(spool);
  }

  static v1::AttemptStarted Started(const std::string& boot_id = "boot-1") {
    v1::AttemptStarted started;
    started.set_boot_id(boot_id);
    started.mutable_start_time()->set_seconds(1'000'000);
    return started;
  }

  // A chunk of `samples` samples, 100 ms apart, the first at `first`; each says how many bytes are held.
  static v1::Chunk ChunkAt(std::chrono::milliseconds first, int samples = 3, std::int64_t held = 0) {
    metrics::ChunkBuilder builder;
    metrics::SampleRow row = metrics::EmptyRow();
    for (int i = 0; i < samples; ++i) {
      row[metrics::IndexOf(metrics::MetricId::kRunnerHeldBytes)] = held + i;
      builder.AddSample(first + std::chrono::milliseconds(100 * i), row);
    }
    return builder.Finish();
  }

  static v1::AttemptFinished Finished(v1::OutcomeKind kind = v1::COMPLETED) {
    v1::AttemptFinished finished;
    finished.mutable_result()->mutable_outcome()->set_kind(kind);
    return finished;
  }

  void Flush() {
    const absl::Status status = spool_->Flush(kPatience);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::vector<v1::Record> ReadAll() {
    std::vector<v1::Record> records;
    SpoolReader reader(spool_.get());
    while (std::optional<v1::Record> record = reader.Next()) records.push_back(*std::move(record));
    return records;
  }

  [[nodiscard]] std::filesystem::path AttemptDirectory(const AttemptKey& key) const {
    return directory_ / "spool" / ToText(key);
  }

  const AttemptKey key_{"j-test.1", 1};
  std::filesystem::path directory_;
  std::unique_ptr<Spool> spool_;
  std::vector<CutOffAttempt> cut_off_;
};

}  // namespace ballast::agent
