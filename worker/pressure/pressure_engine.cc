#include "worker/pressure/pressure_engine.h"

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/pressure/open_loop_patterns.h"
#include "worker/pressure/pattern_curve.h"
#include "worker/pressure/stall_pattern.h"
#include "worker/pressure/target_patterns.h"

namespace ballast::pressure {

using std::chrono::nanoseconds;

PressureEngine::PressureEngine(const EngineSeams& seams, nanoseconds attempt_start)
    : seams_(seams), log_(seams.pacer, seams.observer, attempt_start) {}

v1::RunnerFinished PressureEngine::Run(const v1::PressureWorkload& workload, const std::stop_token& stop) {
  const nanoseconds started = log_.Offset();
  if (const auto planned = PlannedDuration(workload, nanoseconds(0))) log_.SetPlanned(started + *planned);

  MemoryMover mover(seams_, &log_, workload.floor_percent(), stop);
  absl::StatusOr<std::string> summary = RunPattern(workload, &mover);
  if (summary.ok()) {
    if (const absl::Status held = mover.WaitForHoldEnd(); !held.ok()) summary = held;
  }
  const absl::Status status = Recover(workload, summary.status(), &mover);
  if (status.ok()) return log_.Finish(v1::COMPLETED, *summary);
  const std::string message(status.message());
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return log_.Finish(v1::CANCELLED, message);
    case absl::StatusCode::kResourceExhausted:
      return log_.Finish(v1::ALLOCATION_FAILED, message);
    default:
      return log_.Finish(v1::INVALID, message);
  }
}

absl::StatusOr<std::string> PressureEngine::RunPattern(const v1::PressureWorkload& workload, MemoryMover* mover) {
  const nanoseconds baseline = base::FromProto(workload.baseline());
  if (baseline.count() > 0) {
    log_.BeginPhase(v1::Phase::BASELINE);
    BALLAST_RETURN_IF_ERROR(mover->WaitUntil(mover->Now() + baseline));
  }
  const nanoseconds recovery = base::FromProto(workload.recovery());
  switch (workload.pattern_case()) {
    case v1::PressureWorkload::kStaircase:
      return RunStaircase(workload.staircase(), mover);
    case v1::PressureWorkload::kBurst:
      if (workload.burst().has_target_psi()) {
        return RunStallBurst(workload.burst(), recovery, mover);
      }
      return RunBurst(workload.burst(), recovery, mover);
    case v1::PressureWorkload::kSawtooth:
      return RunSawtooth(workload.sawtooth(), recovery, mover);
    case v1::PressureWorkload::kAllocateFull:
      return RunAllocateFull(workload.allocate_full(), recovery, mover);
    case v1::PressureWorkload::kTrace:
      return RunTrace(workload.trace(), recovery, mover);
    case v1::PressureWorkload::PATTERN_NOT_SET:
      if (mover->holds_until_told()) return "no pressure was asked for";
      break;
  }
  return absl::InvalidArgumentError(
      "the pressure workload has no pattern that this worker knows; give it staircase, burst, sawtooth, allocate_full "
      "or "
      "trace, or update the worker");
}

// However the pattern ended, the memory goes back; and unless somebody waits for the end, the device is observed while
// it recovers.
absl::Status PressureEngine::Recover(const v1::PressureWorkload& workload, const absl::Status& pattern_status,
                                     MemoryMover* mover) {
  const std::uint64_t held = mover->held_bytes();
  log_.BeginPhase(v1::Phase::RELEASE);
  mover->Shrink(held);
  if (held > 0) {
    log_.AddEvent(v1::Event::RELEASED, fmt::format("{} given back", base::FormatBytes(held)),
                  static_cast<double>(held));
  }
  const nanoseconds recovery = base::FromProto(workload.recovery());
  if (recovery.count() <= 0 || absl::IsCancelled(pattern_status) || absl::IsInvalidArgument(pattern_status)) {
    return pattern_status;
  }
  log_.BeginPhase(v1::Phase::RECOVERY);
  absl::Status waited = mover->WaitUntil(mover->Now() + recovery);
  return pattern_status.ok() ? waited : pattern_status;
}

}  // namespace ballast::pressure
