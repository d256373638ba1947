#include "coordinator/report/run_telemetry.h"

#include <algorithm>
#include <utility>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/metrics/chunk_codec.h"
#include "common/metrics/metric_table.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/sample_thinner.h"
#include "coordinator/report/thinned_samples.h"
#include "fmt/format.h"

namespace ballast::report {
namespace {

// Collects from the chunks of one attempt, decoding only those that have something to give.
class TelemetryReader {
 public:
  // `whole` says whether the samples stand in the chunks; otherwise they come by AddSample.
  TelemetryReader(std::optional<std::uint32_t> max_samples, bool whole) : whole_(whole) {
    if (max_samples.has_value()) thinner_.emplace(*max_samples);
  }

  void AddSample(std::chrono::microseconds offset, const metrics::SampleRow& row) { thinner_->Add(offset, row); }
  void AddDamaged(std::uint64_t seq, const absl::Status& reason) {
    if (undecodable_chunks_++ == 0) {
      first_undecodable_ = fmt::format("{}: {}", seq, std::string(reason.message()));
    }
  }

  void Visit(std::uint64_t seq, const v1::Chunk& chunk) {
    const bool has_samples = whole_ && thinner_.has_value() && chunk.header().sample_count() > 0;
    if (has_samples) DropSkipped();
    const bool wants_samples = has_samples && thinner_->Wants(chunk.header().sample_count());
    if (chunk.header().event_count() > 0 || wants_samples) {
      Decode(seq, chunk);
    } else if (has_samples) {
      // Should this turn out to be the last chunk, its last sample is wanted after all.
      skipped_seq_ = seq;
      skipped_ = chunk;
    }
  }

  RunTelemetry Finish(const std::string& run_id) {
    if (skipped_.has_value()) Decode(skipped_seq_, *skipped_);
    if (thinner_.has_value()) result_.samples = thinner_->Finish();
    if (!whole_) {
      result_.warnings.push_back(fmt::format(
          "run {}: its samples were thinned to summaries, as it ended long ago; means and last values stand for them",
          run_id));
    }
    if (undecodable_chunks_ > 0) {
      result_.warnings.push_back(
          fmt::format("run {}: {} of its chunks cannot be decoded, so their samples and events are left out (the first "
                      "is chunk {})",
                      run_id, undecodable_chunks_, first_undecodable_));
    }
    if (omitted_events_ > 0) {
      result_.warnings.push_back(fmt::format("run {}: only its first {} events are here, {} later ones are left out",
                                             run_id, kMaxEventsPerRun, omitted_events_));
    }
    return std::move(result_);
  }

 private:
  void DropSkipped() {
    if (!skipped_.has_value()) return;
    thinner_->Skip(skipped_->header().sample_count());
    skipped_.reset();
  }

  void Decode(std::uint64_t seq, const v1::Chunk& chunk) {
    absl::StatusOr<metrics::DecodedChunk> decoded = metrics::DecodeChunk(chunk);
    if (!decoded.ok()) {
      AddDamaged(seq, decoded.status());
      return;
    }
    AddCycles(*decoded);
    for (v1::Event& event : decoded->events) {
      if (result_.events.size() < kMaxEventsPerRun) {
        result_.events.push_back(std::move(event));
      } else {
        ++omitted_events_;
      }
    }
    if (!whole_ || !thinner_.has_value()) return;
    for (std::size_t i = 0; i < decoded->rows.size(); ++i) thinner_->Add(decoded->offsets[i], decoded->rows[i]);
  }

  void AddCycles(const metrics::DecodedChunk& chunk) {
    for (const v1::Event& event : chunk.events) {
      if (event.kind() != v1::Event::CYCLE_COMPLETED) continue;
      v1::StabilityCycle cycle;
      cycle.set_index(static_cast<std::uint32_t>(std::clamp(event.value(), 0.0, 4e9)));
      if (!result_.cycles.empty()) *cycle.mutable_start_offset() = result_.cycles.back().end_offset();
      *cycle.mutable_end_offset() = event.offset();
      // The message is `cycle N: OUTCOME`.
      const std::string& message = event.message();
      if (v1::OutcomeKind outcome{}; v1::OutcomeKind_Parse(message.substr(message.rfind(' ') + 1), &outcome)) {
        cycle.set_outcome(outcome);
      }
      const auto after = std::ranges::upper_bound(chunk.offsets, base::FromProto(event.offset()));
      if (after != chunk.offsets.begin()) {
        const metrics::SampleRow& row = chunk.rows[static_cast<std::size_t>(after - chunk.offsets.begin()) - 1];
        cycle.set_agent_resident_bytes(At(row, metrics::MetricId::kAgentRssBytes));
        const std::uint64_t limit = At(row, metrics::MetricId::kMemLimitBytes);
        const std::uint64_t available = At(row, metrics::MetricId::kMemLimitAvailableBytes);
        cycle.set_system_used_bytes(limit - std::min(limit, available));
      }
      result_.cycles.push_back(std::move(cycle));
    }
  }

  static std::uint64_t At(const metrics::SampleRow& row, metrics::MetricId id) {
    const std::int64_t value = row[metrics::IndexOf(id)];
    return value == metrics::kAbsent || value < 0 ? 0 : static_cast<std::uint64_t>(value);
  }

  const bool whole_;
  RunTelemetry result_;
  std::optional<SampleThinner> thinner_;
  std::optional<v1::Chunk> skipped_;
  std::uint64_t skipped_seq_ = 0;
  std::size_t undecodable_chunks_ = 0;
  std::string first_undecodable_;
  std::size_t omitted_events_ = 0;
};

}  // namespace

absl::StatusOr<RunTelemetry> ReadTelemetry(storage::Store& store, const v1::Run& run,
                                           std::optional<std::uint32_t> max_samples) {
  const bool whole = !run.has_samples_thinned_time();
  TelemetryReader reader(max_samples, whole);
  if (const v1::Attempt* attempt = LastAttempt(run); attempt != nullptr) {
    const auto visit = [&reader](std::uint64_t seq, const v1::Chunk& chunk) {
      reader.Visit(seq, chunk);
      return absl::OkStatus();
    };
    BALLAST_RETURN_IF_ERROR(max_samples.has_value() && whole
                                ? store.ReadChunks(run.run_id(), attempt->attempt(), visit)
                                : store.ReadChunksWithEvents(run.run_id(), attempt->attempt(), visit));
    if (max_samples.has_value() && !whole) {
      BALLAST_RETURN_IF_ERROR(ReadThinnedSamples(
          store, run.run_id(), attempt->attempt(),
          [&reader](std::chrono::microseconds offset, const metrics::SampleRow& row) {
            reader.AddSample(offset, row);
            return absl::OkStatus();
          },
          [&reader](std::uint64_t seq, const absl::Status& reason) { reader.AddDamaged(seq, reason); }));
    }
  }
  return reader.Finish(run.run_id());
}

}  // namespace ballast::report
