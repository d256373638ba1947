// Encoding and decoding of chunks: some seconds of samples and events, as the same bytes on the device's disk, on the
// wire and in the database. The format is documented in proto/ballast/v1/telemetry.proto and docs/telemetry.md:
// per-metric columns of differences, zstd, CRC32C.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/telemetry.pb.h"
#include "common/metrics/crc32c.h"  // IWYU pragma: export
#include "common/metrics/metric_table.h"

struct ZSTD_CCtx_s;

namespace ballast::metrics {

// Limits of one chunk. Larger ones are refused by readers; within them, hostile bytes make a reader allocate tens of
// megabytes at most, whatever they claim to hold.
inline constexpr std::size_t kMaxChunkBytes = 4U << 20U;  // the body, before and after compression
inline constexpr std::size_t kMaxChunkSamples = 4096;
inline constexpr std::size_t kMaxChunkEvents = 4096;
inline constexpr std::size_t kMaxChunkEventBytes = 1U << 20U;  // all events together
inline constexpr std::size_t kMaxChunkMetrics = 1024;

// Collects samples and events and encodes them. Reusable; keeps its buffers, so AddSample does not allocate once warm.
// Movable. Not thread-safe.
class ChunkBuilder {
 public:
  ChunkBuilder();
  ~ChunkBuilder();
  ChunkBuilder(ChunkBuilder&&) noexcept;
  ChunkBuilder& operator=(ChunkBuilder&&) noexcept;

  // Samples must come in order of time: one that is earlier than the one before gets that one's time. Call on a builder
  // that is not full().
  void AddSample(std::chrono::nanoseconds offset, const SampleRow& row);
  // Call on a builder that is not full(). A message that is longer than 4 KiB is cut; bytes in it
  // that are not UTF-8 become question marks.
  void AddEvent(const v1::Event& event);

  [[nodiscard]] std::size_t sample_count() const { return offsets_us_.size(); }
  [[nodiscard]] bool empty() const { return offsets_us_.empty() && events_.empty(); }
  // Whether the next sample or event could exceed a limit: call Finish first.
  [[nodiscard]] bool full() const;

  // The chunk of what was added since the last call; the builder is empty afterwards. Call on a non-empty builder.
  [[nodiscard]] v1::Chunk Finish();

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx_s* context) const;
  };

  void AddColumns(v1::ChunkHeader* header);
  void CompressBody(v1::Chunk* chunk);

  std::vector<std::int64_t> offsets_us_;
  std::vector<SampleRow> rows_;
  std::vector<v1::Event> events_;
  std::size_t event_bytes_ = 0;
  v1::ChunkBody body_;      // kept for its memory
  std::string serialised_;  // kept for its memory
  std::unique_ptr<ZSTD_CCtx_s, FreeContext> context_;
};

// A decoded chunk: rows of samples with their offsets, and events.
struct DecodedChunk {
  std::vector<std::chrono::microseconds> offsets;
  std::vector<SampleRow> rows;
  std::vector<v1::Event> events;
};

// Checks what can be checked without decoding: header complete, sizes within the limits above, CRC right, summaries in
// order, known compression. DATA_LOSS with the reason otherwise. Metrics that this build does not know are accepted.
// Thread-safe.
[[nodiscard]] absl::Status ValidateChunk(const v1::Chunk& chunk);

// Decodes a chunk from anywhere; trusts nothing. DATA_LOSS with the reason. Metrics that this build does not know are
// left out. Thread-safe.
[[nodiscard]] absl::StatusOr<DecodedChunk> DecodeChunk(const v1::Chunk& chunk);

// Adds `from` (later samples) into `into` (earlier samples) of the same metric. The meaning of a summary over several
// chunks: every store's rollups are held against it.
void MergeSummary(const v1::MetricSummary& from, v1::MetricSummary* into);

}  // namespace ballast::metrics
