// What is left of the samples of some chunks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "ballast/v1/telemetry.pb.h"
#include "common/metrics/chunk_codec.h"
#include "storage/store.h"

namespace ballast::retention {

// Gathers the chunks of one stretch of an attempt, in order and without gaps: their summaries are merged, and of their
// bodies the events are kept, each with the sample before it (what a cycle of a soak ended with). Not thread-safe.
class SampleSummary {
 public:
  // Adds the next chunk. DATA_LOSS where it cannot be decoded: nothing is added then.
  [[nodiscard]] absl::Status Add(std::uint64_t seq, const v1::Chunk& chunk);

  [[nodiscard]] std::size_t chunk_count() const { return chunk_count_; }
  [[nodiscard]] std::uint64_t last_seq() const { return last_seq_; }
  // Where the first chunk begins, from the start of the attempt.
  [[nodiscard]] std::chrono::nanoseconds start_offset() const;
  // Whether what is kept of events is as much as fits into a chunk.
  [[nodiscard]] bool full() const { return kept_.full(); }

  // What takes the place of the chunks; empty afterwards. Call with a chunk at least.
  [[nodiscard]] storage::ThinChunks Finish(const std::string& run_id, std::uint32_t attempt);

 private:
  std::size_t chunk_count_ = 0;
  std::uint64_t first_seq_ = 0;
  std::uint64_t last_seq_ = 0;
  v1::ChunkHeader header_;
  metrics::ChunkBuilder kept_;
};

}  // namespace ballast::retention
