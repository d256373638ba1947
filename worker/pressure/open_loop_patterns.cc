#include "worker/pressure/open_loop_patterns.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/pressure/pattern_curve.h"
#include "worker/pressure/target_loop.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;

// A step that begins this much later than planned is told.
constexpr nanoseconds kStepLateness = std::chrono::milliseconds(100);

// Fills the step with this number; false where the floor stopped it.
absl::StatusOr<bool> TakeStep(const v1::StaircasePattern& pattern, std::uint32_t index, MemoryMover* mover) {
  const nanoseconds begun = mover->Now();
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t resident_before, mover->ResidentBytes());
  BALLAST_ASSIGN_OR_RETURN(const bool reached, mover->GrowTo(StepTarget(pattern, index)));
  if (!reached) return false;
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t resident_after, mover->ResidentBytes());
  v1::Step step;
  step.set_index(index);
  *step.mutable_fill_duration() = base::ToProto(mover->Now() - begun);
  step.set_held_bytes(mover->held_bytes());
  step.set_resident_delta_bytes(static_cast<std::int64_t>(resident_after) - static_cast<std::int64_t>(resident_before));
  step.set_resident_bytes(resident_after);
  mover->log().AddStep(std::move(step));
  return true;
}

}  // namespace

absl::StatusOr<std::string> RunStaircase(const v1::StaircasePattern& pattern, MemoryMover* mover) {
  if (pattern.steps() == 0 || pattern.step_size_bytes() == 0) {
    return absl::InvalidArgumentError("the staircase has no steps, or steps of no size");
  }
  RunLog& log = mover->log();
  log.BeginPhase(v1::Phase::RAMP);
  RunLog::Notice behind;
  const nanoseconds start = mover->Now();
  for (std::uint32_t index = 1; index <= pattern.steps(); ++index) {
    const nanoseconds due = start + StepBegin(pattern, index);
    BALLAST_RETURN_IF_ERROR(mover->WaitUntil(due));
    const nanoseconds begun = mover->Now();
    const std::uint64_t steps_behind = StepsBegun(pattern, begun - start) - index + 1;
    const bool late = begun - due > kStepLateness;
    if (late) log.AddLag(pattern.step_size_bytes() * steps_behind);
    log.Tell(&behind, late, v1::Event::LAGGED,
             fmt::format("step {} begins {} later than planned: filling takes longer than the interval", index,
                         base::FormatDuration(begun - due)),
             static_cast<double>(pattern.step_size_bytes()) * static_cast<double>(steps_behind));
    BALLAST_ASSIGN_OR_RETURN(const bool reached, TakeStep(pattern, index, mover));
    if (reached) continue;
    const std::string summary =
        fmt::format("{} of {} steps; then available memory was down to the floor of {:g} %, with {} held", index - 1,
                    pattern.steps(), mover->floor_percent(), base::FormatBytes(mover->held_bytes()));
    BALLAST_RETURN_IF_ERROR(mover->BeginHold());
    BALLAST_RETURN_IF_ERROR(mover->WaitUntil(begun + base::FromProto(pattern.interval())));
    return summary;
  }
  log.MarkTargetReached();
  const std::uint64_t held = mover->held_bytes();
  log.AddEvent(v1::Event::TARGET_REACHED, fmt::format("all {} steps are held", pattern.steps()),
               static_cast<double>(held));
  BALLAST_RETURN_IF_ERROR(mover->BeginHold());
  const nanoseconds last_begin = StepBegin(pattern, pattern.steps());
  BALLAST_RETURN_IF_ERROR(mover->WaitUntil(start + last_begin + base::FromProto(pattern.interval())));
  return fmt::format("{} steps of {}, {} held", pattern.steps(), base::FormatBytes(pattern.step_size_bytes()),
                     base::FormatBytes(held));
}

absl::StatusOr<std::string> RunAllocateFull(const v1::AllocateFullPattern& pattern, nanoseconds recovery,
                                            MemoryMover* mover) {
  RunLog& log = mover->log();
  log.BeginPhase(v1::Phase::RAMP);
  if (pattern.until() == v1::AllocateFullPattern::OOM) {
    // Ends with the process, or with the kernel's refusal, or with a stop.
    while (true) {
      BALLAST_RETURN_IF_ERROR(mover->WaitWhilePaused());
      BALLAST_RETURN_IF_ERROR(mover->Look().status());
      if (!mover->paused()) BALLAST_RETURN_IF_ERROR(mover->Grow(mover->chunk_bytes()));
    }
  }
  const nanoseconds hold = base::FromProto(pattern.hold());
  TargetLoop loop(mover);
  BALLAST_RETURN_IF_ERROR(loop.MoveTo([](std::uint64_t limit_bytes) { return limit_bytes; }, hold + recovery).status());
  log.SetTarget(0);
  log.MarkTargetReached();
  const std::string summary = fmt::format("{} held when available memory was down to the floor of {:g} %",
                                          base::FormatBytes(mover->held_bytes()), mover->floor_percent());
  if (hold.count() > 0) {
    BALLAST_RETURN_IF_ERROR(mover->BeginHold());
    BALLAST_RETURN_IF_ERROR(mover->WaitUntil(mover->Now() + hold));
  }
  return summary;
}

}  // namespace ballast::pressure
