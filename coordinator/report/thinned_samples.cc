#include "coordinator/report/thinned_samples.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/metrics/chunk_codec.h"

namespace ballast::report {
namespace {

metrics::SampleRow RowOf(const v1::ChunkHeader& summary) {
  metrics::SampleRow row = metrics::EmptyRow();
  for (const v1::MetricSummary& value : summary.summaries()) {
    const metrics::Metric* const metric = metrics::FindMetric(value.metric_id());
    if (metric == nullptr || value.count() == 0) continue;
    const auto mean = std::llround(value.sum() / static_cast<double>(value.count()));
    row[metric->id - 1] = metric->kind == metrics::Kind::kCounter
                              ? value.last()
                              : std::clamp<std::int64_t>(mean, value.min(), value.max());
  }
  return row;
}

}  // namespace

absl::Status ReadThinnedSamples(
    storage::Store& store, const std::string& run_id, std::uint32_t attempt,
    const std::function<absl::Status(std::chrono::microseconds offset, const metrics::SampleRow& row)>& visit,
    const std::function<void(std::uint64_t seq, const absl::Status& reason)>& damaged) {
  std::deque<std::pair<std::uint64_t, v1::ChunkHeader>> summaries;
  BALLAST_RETURN_IF_ERROR(
      store.ReadSummaries(run_id, attempt, [&](std::uint64_t last_seq, const v1::ChunkHeader& summary) {
        if (summary.sample_count() > 0) summaries.emplace_back(last_seq, summary);
        return absl::OkStatus();
      }));
  const auto visit_summaries_before = [&](std::uint64_t seq) -> absl::Status {
    for (; !summaries.empty() && summaries.front().first < seq; summaries.pop_front()) {
      const v1::ChunkHeader& summary = summaries.front().second;
      BALLAST_RETURN_IF_ERROR(
          visit(std::chrono::floor<std::chrono::microseconds>(base::FromProto(summary.end_offset())), RowOf(summary)));
    }
    return absl::OkStatus();
  };
  const auto visit_chunk = [&](std::uint64_t seq, const v1::Chunk& chunk) -> absl::Status {
    if (chunk.header().sample_count() == 0) return absl::OkStatus();
    BALLAST_RETURN_IF_ERROR(visit_summaries_before(seq));
    const absl::StatusOr<metrics::DecodedChunk> decoded = metrics::DecodeChunk(chunk);
    if (!decoded.ok()) {
      damaged(seq, decoded.status());
      return absl::OkStatus();
    }
    for (std::size_t i = 0; i < decoded->rows.size(); ++i) {
      BALLAST_RETURN_IF_ERROR(visit(decoded->offsets[i], decoded->rows[i]));
    }
    return absl::OkStatus();
  };
  BALLAST_RETURN_IF_ERROR(store.ReadWholeChunks(run_id, attempt, visit_chunk));
  return visit_summaries_before(UINT64_MAX);
}

}  // namespace ballast::report
