// Encoding and decoding of chunks: some seconds of samples and events, as the same bytes on the device's disk, on the wire and in the database.
// The format is documented in proto/ballast/v1/telemetry.proto and docs/telemetry.md: per-metric columns of differences, zstd, CRC32C.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/telemetry.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::metrics {

// CRC32C (Castagnoli, RFC 3720) of `data`; hardware-accelerated where the processor can. Also frames the worker's spool.
[[nodiscard]] std::uint32_t Crc32c(std::string_view data);

// Collects samples and events and encodes them. Reusable; keeps its buffers, so AddSample does not allocate once warm. Not thread-safe.
class ChunkBuilder {
 public:
  // Samples must come in order of time.
  void AddSample(std::chrono::nanoseconds offset, const SampleRow& row);
  void AddEvent(const v1::Event& event);

  [[nodiscard]] std::size_t sample_count() const { return offsets_us_.size(); }
  [[nodiscard]] bool empty() const { return offsets_us_.empty() && events_.empty(); }

  // The chunk of what was added since the last call; the builder is empty afterwards. Call on a non-empty builder.
  [[nodiscard]] v1::Chunk Finish();

 private:
  std::vector<std::int64_t> offsets_us_;
  std::vector<SampleRow> rows_;
  std::vector<v1::Event> events_;
};

// A decoded chunk: rows of samples with their offsets, and events.
struct DecodedChunk {
  std::vector<std::chrono::microseconds> offsets;
  std::vector<SampleRow> rows;
  std::vector<v1::Event> events;
};

// Checks what can be checked without decoding: header complete, sizes within kMaxChunkBytes, CRC right, summaries in order, known compression.
// DATA_LOSS with the reason otherwise. Metrics that this build does not know are accepted.
[[nodiscard]] absl::Status ValidateChunk(const v1::Chunk& chunk);

// Decodes a chunk from anywhere; trusts nothing. DATA_LOSS with the reason. Metrics that this build does not know are left out.
[[nodiscard]] absl::StatusOr<DecodedChunk> DecodeChunk(const v1::Chunk& chunk);

// Largest body accepted, before and after compression.
inline constexpr std::size_t kMaxChunkBytes = 16U << 20U;

// Adds `from` (later samples) into `into` (earlier samples) of the same metric.
void MergeSummary(const v1::MetricSummary& from, v1::MetricSummary* into);

}  // namespace ballast::metrics
