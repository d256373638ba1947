#include "worker/pressure/target_patterns.h"

#include <optional>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/pressure/pattern_curve.h"
#include "worker/pressure/target_loop.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;
using Bound = Correction::Bound;

// What came of reaching for a target.
std::string Summary(Bound bound, const std::string& target, const MemoryMover& mover) {
  const std::string held = base::FormatBytes(mover.held_bytes());
  switch (bound) {
    case Bound::kFloor:
      return fmt::format("available memory was down to the floor of {:g} % before {} were in use, with {} held",
                         mover.floor_percent(), target, held);
    case Bound::kNothingHeld:
      return fmt::format("other processes alone used {:.1f} %, more than the target of {}: nothing was held at first",
                         mover.reading().used_percent(), target);
    default:
      return fmt::format("{} in use reached with {} held", target, held);
  }
}

}  // namespace

absl::StatusOr<std::string> RunBurst(const v1::BurstPattern& pattern, nanoseconds recovery, MemoryMover* mover) {
  // As it is now: another one may be asked for at any time.
  PhaseTarget now = {.percent = pattern.has_target_bytes() ? 0 : pattern.target_percent(),
                     .bytes = pattern.target_bytes()};
  const TargetLoop::Target target = [&](std::uint64_t limit_bytes) {
    if (const std::optional<double> asked = mover->asked_target_percent()) return BytesOfPercent(limit_bytes, *asked);
    return pattern.has_target_bytes() ? pattern.target_bytes() : BytesOfPercent(limit_bytes, pattern.target_percent());
  };
  const auto retargeted = [&] {
    const double asked = mover->asked_target_percent().value_or(0);
    if (asked <= 0 || asked == now.percent) return false;
    now = {.percent = asked};
    return true;
  };
  const nanoseconds duration = base::FromProto(pattern.duration());
  RunLog& log = mover->log();
  TargetLoop loop(mover);
  log.BeginPhase(v1::Phase::RAMP, now);
  BALLAST_ASSIGN_OR_RETURN(const Bound bound, loop.MoveTo(target, duration + recovery));
  (void)retargeted();
  const std::string summary =
      Summary(bound, now.bytes > 0 ? base::FormatBytes(now.bytes) : fmt::format("{:g} %", now.percent), *mover);
  if (duration.count() <= 0) return summary;
  BALLAST_RETURN_IF_ERROR(mover->BeginHold(now));
  const auto target_at = [&](nanoseconds, std::uint64_t limit_bytes) { return target(limit_bytes); };
  // Each target is a hold of its own, so that how well it was held can be told.
  const auto tell_target = [&](nanoseconds) {
    if (retargeted()) log.BeginPhase(v1::Phase::HOLD, now);
  };
  BALLAST_RETURN_IF_ERROR(loop.Follow(duration, false, target_at, tell_target));
  return summary;
}

// The cycles of a sawtooth, and the curve of a trace, are what they hold. Their target moves all the time, so the phase
// has none; RunnerState says where it is.

absl::StatusOr<std::string> RunSawtooth(const v1::SawtoothPattern& pattern, nanoseconds recovery, MemoryMover* mover) {
  const auto target_at = [&](nanoseconds elapsed, std::uint64_t limit_bytes) {
    return BytesOfPercent(limit_bytes, SawtoothPercent(pattern, elapsed));
  };
  const nanoseconds duration = CyclesDuration(pattern);
  RunLog& log = mover->log();
  TargetLoop loop(mover);
  log.BeginPhase(v1::Phase::RAMP, {.percent = pattern.min_percent()});
  BALLAST_RETURN_IF_ERROR(loop.MoveTo([&](std::uint64_t limit_bytes) { return target_at(nanoseconds(0), limit_bytes); },
                                      duration + recovery)
                              .status());
  BALLAST_RETURN_IF_ERROR(mover->BeginHold());
  std::uint32_t completed = 0;
  const auto tell_cycles = [&](nanoseconds elapsed) {
    while (completed < CyclesCompleted(pattern, elapsed)) {
      ++completed;
      log.AddEvent(v1::Event::CYCLE_COMPLETED, fmt::format("cycle {} of {}", completed, pattern.cycles()), completed);
    }
  };
  BALLAST_RETURN_IF_ERROR(loop.Follow(duration, true, target_at, tell_cycles));
  return fmt::format("{} cycles between {:g} % and {:g} %", completed, pattern.min_percent(), pattern.max_percent());
}

absl::StatusOr<std::string> RunTrace(const v1::TracePattern& pattern, nanoseconds recovery, MemoryMover* mover) {
  BALLAST_RETURN_IF_ERROR(CheckTrace(pattern));
  const auto target_at = [&](nanoseconds elapsed, std::uint64_t limit_bytes) {
    return TraceBytes(pattern, elapsed, limit_bytes);
  };
  const nanoseconds duration = TraceDuration(pattern);
  const v1::TracePoint& first = pattern.points(0);
  RunLog& log = mover->log();
  TargetLoop loop(mover);
  log.BeginPhase(v1::Phase::RAMP, {.percent = first.used_percent(), .bytes = first.used_bytes()});
  BALLAST_RETURN_IF_ERROR(loop.MoveTo([&](std::uint64_t limit_bytes) { return target_at(nanoseconds(0), limit_bytes); },
                                      duration + recovery)
                              .status());
  BALLAST_RETURN_IF_ERROR(mover->BeginHold());
  BALLAST_RETURN_IF_ERROR(loop.Follow(duration, true, target_at, {}));
  return fmt::format("a curve of {} points{} followed for {}", pattern.points_size(),
                     pattern.source().empty() ? std::string() : fmt::format(" from {}", pattern.source()),
                     base::FormatDuration(duration));
}

}  // namespace ballast::pressure
