#include "coordinator/retention/sample_summary.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace ballast::retention {
namespace {

// Both ordered by metric.
void Merge(const v1::ChunkHeader& from, v1::ChunkHeader* into) {
  google::protobuf::RepeatedPtrField<v1::MetricSummary> merged;
  auto old = into->mutable_summaries()->begin();
  const auto end = into->mutable_summaries()->end();
  for (const v1::MetricSummary& summary : from.summaries()) {
    for (; old != end && old->metric_id() < summary.metric_id(); ++old) merged.Add()->Swap(&*old);
    if (old != end && old->metric_id() == summary.metric_id()) {
      metrics::MergeSummary(summary, &*old);
      merged.Add()->Swap(&*old);
      ++old;
    } else {
      *merged.Add() = summary;
    }
  }
  for (; old != end; ++old) merged.Add()->Swap(&*old);
  into->mutable_summaries()->Swap(&merged);
}

}  // namespace

absl::Status SampleSummary::Add(std::uint64_t seq, const v1::Chunk& chunk) {
  const v1::ChunkHeader& header = chunk.header();
  if (header.event_count() == 0) {
    BALLAST_RETURN_IF_ERROR(metrics::ValidateChunk(chunk));
  } else {
    BALLAST_ASSIGN_OR_RETURN(const metrics::DecodedChunk decoded, metrics::DecodeChunk(chunk));
    std::ptrdiff_t kept_until = 0;
    for (const v1::Event& event : decoded.events) {
      const auto after = std::ranges::upper_bound(
          decoded.offsets, std::chrono::floor<std::chrono::microseconds>(base::FromProto(event.offset())));
      const std::ptrdiff_t before = std::distance(decoded.offsets.begin(), after);
      if (before > kept_until && !kept_.full()) {
        const auto index = static_cast<std::size_t>(before - 1);
        kept_.AddSample(decoded.offsets[index], decoded.rows[index]);
        kept_until = before;
      }
      kept_.AddEvent(event);
    }
  }
  if (chunk_count_++ == 0) {
    first_seq_ = seq;
    *header_.mutable_start_offset() = header.start_offset();
  }
  last_seq_ = seq;
  *header_.mutable_end_offset() = header.end_offset();
  header_.set_sample_count(header_.sample_count() + header.sample_count());
  header_.set_event_count(header_.event_count() + header.event_count());
  Merge(header, &header_);
  return absl::OkStatus();
}

std::chrono::nanoseconds SampleSummary::start_offset() const {
  return base::FromProto(header_.start_offset());
}

storage::ThinChunks SampleSummary::Finish(const std::string& run_id, std::uint32_t attempt) {
  storage::ThinChunks thin{.run_id = run_id,
                           .attempt = attempt,
                           .first_seq = first_seq_,
                           .last_seq = last_seq_,
                           .summary = std::exchange(header_, {}),
                           .events = std::nullopt};
  if (!kept_.empty()) {
    thin.events = kept_.Finish();
    thin.events->mutable_header()->clear_summaries();  // those of some samples only; the summary has all
  }
  chunk_count_ = 0;
  return thin;
}

}  // namespace ballast::retention
