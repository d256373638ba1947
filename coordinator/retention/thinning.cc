#include "coordinator/retention/thinning.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "common/base/status.h"
#include "coordinator/retention/sample_summary.h"

namespace ballast::retention {
namespace {

// Chunks that one step takes out of the database: some milliseconds of the writer's time.
constexpr std::size_t kChunksPerStep = 128;
// A summary of a long interval is cut there, so that a step stays short.
constexpr std::size_t kMaxChunksPerSummary = 1024;

// Gathers stretches into steps.
class RunThinner {
 public:
  RunThinner(const v1::Run& run, std::chrono::nanoseconds summary_interval, base::SystemTime time, const Step& step)
      : run_(run),
        interval_(std::max<std::chrono::nanoseconds>(summary_interval, std::chrono::seconds(1))),
        time_(time),
        step_(step) {}

  void BeginAttempt(std::uint32_t attempt) { attempt_ = attempt; }

  absl::Status Visit(std::uint64_t seq, const v1::Chunk& chunk) {
    const std::int64_t place = base::FromProto(chunk.header().start_offset()) / interval_;
    if (stretch_.chunk_count() > 0 && (place != place_ || seq != stretch_.last_seq() + 1 || stretch_.full() ||
                                       stretch_.chunk_count() >= kMaxChunksPerSummary)) {
      BALLAST_RETURN_IF_ERROR(EndStretch());
    }
    if (!stretch_.Add(seq, chunk).ok()) {  // damaged: nobody has a better one
      return stretch_.chunk_count() > 0 ? EndStretch() : absl::OkStatus();
    }
    if (stretch_.chunk_count() == 1) place_ = place;
    return absl::OkStatus();
  }

  absl::Status EndStretch() {
    if (stretch_.chunk_count() == 0) return absl::OkStatus();
    if (!std::exchange(begun_, true)) {
      batch_.emplace_back(storage::MarkThinned{.run_id = run_.run_id(), .time = time_, .done = false});
    }
    chunks_in_batch_ += stretch_.chunk_count();
    batch_.emplace_back(stretch_.Finish(run_.run_id(), attempt_));
    if (chunks_in_batch_ < kChunksPerStep) return absl::OkStatus();
    chunks_in_batch_ = 0;
    return step_(std::exchange(batch_, {}));
  }

  absl::Status Finish() {
    batch_.emplace_back(storage::MarkThinned{.run_id = run_.run_id(), .time = std::nullopt, .done = true});
    return step_(std::exchange(batch_, {}));
  }

 private:
  const v1::Run& run_;
  const std::chrono::nanoseconds interval_;
  const base::SystemTime time_;
  const Step& step_;
  std::uint32_t attempt_ = 0;
  SampleSummary stretch_;
  std::int64_t place_ = 0;  // which interval stretch_ is in
  bool begun_ = false;
  std::size_t chunks_in_batch_ = 0;
  storage::WriteBatch batch_;
};

bool IsToldByDevice(const v1::Run& run, const v1::Attempt& attempt) {
  if (!attempt.given_up()) return true;
  return std::ranges::any_of(run.late_results(),
                             [&attempt](const v1::LateResult& late) { return late.attempt() == attempt.attempt(); });
}

}  // namespace

absl::StatusOr<bool> MayBringRecords(storage::Store& store, const v1::Run& run) {
  const bool told =
      std::ranges::all_of(run.attempts(), [&run](const v1::Attempt& attempt) { return IsToldByDevice(run, attempt); });
  if (told) return false;
  const absl::StatusOr<v1::Device> device = store.GetDevice(run.device_id());
  if (device.ok()) return true;
  if (absl::IsNotFound(device.status())) return false;
  return device.status();
}

absl::Status ThinRun(storage::Store& store, const v1::Run& run, std::chrono::nanoseconds summary_interval,
                     base::SystemTime time, const Step& step) {
  RunThinner thinner(run, summary_interval, time, step);
  for (const v1::Attempt& attempt : run.attempts()) {
    thinner.BeginAttempt(attempt.attempt());
    BALLAST_RETURN_IF_ERROR(store.ReadWholeChunks(
        run.run_id(), attempt.attempt(),
        [&thinner](std::uint64_t seq, const v1::Chunk& chunk) { return thinner.Visit(seq, chunk); }));
    BALLAST_RETURN_IF_ERROR(thinner.EndStretch());
  }
  return thinner.Finish();
}

absl::Status DeleteSamples(storage::Store& store, const v1::Run& run, base::SystemTime time, const Step& step) {
  bool begun = false;
  for (const v1::Attempt& attempt : run.attempts()) {
    BALLAST_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> positions,
                             store.ChunkPositions(run.run_id(), attempt.attempt()));
    for (std::size_t first = 0; first < positions.size(); first += kChunksPerStep) {
      const std::size_t last = std::min(first + kChunksPerStep, positions.size()) - 1;
      storage::WriteBatch batch;
      if (!std::exchange(begun, true)) {
        batch.emplace_back(storage::MarkThinned{.run_id = run.run_id(), .time = time, .done = false});
      }
      batch.emplace_back(storage::DeleteChunks{.run_id = run.run_id(),
                                               .attempt = attempt.attempt(),
                                               .first_seq = positions[first],
                                               .last_seq = positions[last]});
      BALLAST_RETURN_IF_ERROR(step(std::move(batch)));
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast::retention
