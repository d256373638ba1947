#include "worker/pressure/pressure_engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/pressure/pattern_curve.h"

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// How often the loop looks at the target: after a move, then less and less often while there is nothing to move.
// Looking costs some tens of microseconds, so even the fastest pace is below half a percent of a processor.
constexpr nanoseconds kMovingPeriod = milliseconds(10);
constexpr nanoseconds kRestingPeriod = milliseconds(50);

// A correction that takes longer is left off, to look whether the target has moved.
constexpr nanoseconds kSettleTime = milliseconds(50);

// Falling short of the target by more than a point for longer than this is told.
constexpr double kLagPoints = 1.0;
constexpr nanoseconds kLagTime = milliseconds(250);
constexpr nanoseconds kNoticeInterval = std::chrono::seconds(10);

// A step that begins this much later than planned is told.
constexpr nanoseconds kStepLateness = milliseconds(100);

double Points(const os::MemoryReading& reading, std::int64_t bytes) {
  return reading.limit_bytes == 0 ? 0.0 : 100.0 * static_cast<double>(bytes) / static_cast<double>(reading.limit_bytes);
}

}  // namespace

PressureEngine::PressureEngine(const EngineSeams& seams, nanoseconds attempt_start)
    : seams_(seams), log_(seams.pacer, seams.observer, attempt_start) {}

v1::RunnerFinished PressureEngine::Run(const v1::PressureWorkload& workload, const std::stop_token& stop) {
  workload_ = workload;
  stop_ = stop;
  floor_percent_ = workload.floor_percent();
  const nanoseconds started = log_.Offset();
  if (const auto planned = PlannedDuration(workload, nanoseconds(0))) log_.SetPlanned(started + *planned);

  const absl::Status pattern_status = RunPattern();
  absl::Status status = Recover(pattern_status);
  if (status.ok()) return log_.Finish(v1::COMPLETED, summary_);
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

absl::Status PressureEngine::RunPattern() {
  const nanoseconds baseline = base::FromProto(workload_.baseline());
  if (baseline.count() > 0) {
    log_.BeginPhase(v1::Phase::BASELINE, 0);
    BALLAST_RETURN_IF_ERROR(WaitUntil(seams_.pacer->Now() + baseline));
  }
  switch (workload_.pattern_case()) {
    case v1::PressureWorkload::kStaircase:
      return RunStaircase(workload_.staircase());
    case v1::PressureWorkload::kBurst:
      return RunBurst(workload_.burst());
    case v1::PressureWorkload::kSawtooth:
      return RunSawtooth(workload_.sawtooth());
    case v1::PressureWorkload::kAllocateFull:
      return RunAllocateFull(workload_.allocate_full());
    case v1::PressureWorkload::kTrace:
    case v1::PressureWorkload::PATTERN_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "the pressure workload has no pattern that this worker knows; give it staircase, burst, sawtooth or "
      "allocate_full, or update "
      "the worker");
}

// However the pattern ended, the memory goes back; and unless somebody waits for the end, the device is observed while
// it recovers.
absl::Status PressureEngine::Recover(const absl::Status& pattern_status) {
  const std::uint64_t held = seams_.memory->held_bytes();
  log_.BeginPhase(v1::Phase::RELEASE, 0);
  Shrink(held);
  if (held > 0) {
    log_.AddEvent(v1::Event::RELEASED, fmt::format("{} given back", base::FormatBytes(held)),
                  static_cast<double>(held));
  }
  const nanoseconds recovery = base::FromProto(workload_.recovery());
  if (recovery.count() <= 0 || absl::IsCancelled(pattern_status) || absl::IsInvalidArgument(pattern_status)) {
    return pattern_status;
  }
  log_.BeginPhase(v1::Phase::RECOVERY, 0);
  absl::Status waited = WaitUntil(seams_.pacer->Now() + recovery);
  return pattern_status.ok() ? waited : pattern_status;
}

absl::Status PressureEngine::RunStaircase(const v1::StaircasePattern& pattern) {
  if (pattern.steps() == 0 || pattern.step_size_bytes() == 0) {
    return absl::InvalidArgumentError("the staircase has no steps, or steps of no size");
  }
  log_.BeginPhase(v1::Phase::RAMP, 0);
  const nanoseconds start = seams_.pacer->Now();
  for (std::uint32_t index = 1; index <= pattern.steps(); ++index) {
    const nanoseconds due = start + StepBegin(pattern, index);
    BALLAST_RETURN_IF_ERROR(WaitUntil(due));
    const nanoseconds begun = seams_.pacer->Now();
    if (const std::uint32_t due_steps = StepsBegun(pattern, begun - start); begun - due > kStepLateness) {
      const double shortfall = static_cast<double>(pattern.step_size_bytes()) * (due_steps - index + 1);
      TellAgain(&behind_notice_, true, v1::Event::LAGGED,
                fmt::format("step {} begins {} later than planned: filling takes longer than the interval", index,
                            base::FormatDuration(begun - due)),
                shortfall);
    } else {
      behind_notice_.holds = false;
    }
    BALLAST_ASSIGN_OR_RETURN(const std::uint64_t resident_before, seams_.memory->ResidentBytes());
    BALLAST_ASSIGN_OR_RETURN(const bool reached, GrowTo(StepTarget(pattern, index)));
    if (!reached) {
      summary_ =
          fmt::format("{} of {} steps; then available memory was down to the floor of {:g} %, with {} held", index - 1,
                      pattern.steps(), floor_percent_, base::FormatBytes(seams_.memory->held_bytes()));
      log_.BeginPhase(v1::Phase::HOLD, 0);
      return WaitUntil(begun + base::FromProto(pattern.interval()));
    }
    BALLAST_ASSIGN_OR_RETURN(const std::uint64_t resident_after, seams_.memory->ResidentBytes());
    v1::Step step;
    step.set_index(index);
    *step.mutable_fill_duration() = base::ToProto(seams_.pacer->Now() - begun);
    step.set_held_bytes(seams_.memory->held_bytes());
    step.set_resident_delta_bytes(static_cast<std::int64_t>(resident_after) -
                                  static_cast<std::int64_t>(resident_before));
    step.set_resident_bytes(resident_after);
    log_.AddStep(std::move(step));
  }
  log_.MarkTargetReached();
  const std::uint64_t held = seams_.memory->held_bytes();
  log_.AddEvent(v1::Event::TARGET_REACHED, fmt::format("all {} steps are held", pattern.steps()),
                static_cast<double>(held));
  summary_ = fmt::format("{} steps of {}, {} held", pattern.steps(), base::FormatBytes(pattern.step_size_bytes()),
                         base::FormatBytes(held));
  log_.BeginPhase(v1::Phase::HOLD, 0);
  const nanoseconds last_begin = StepBegin(pattern, pattern.steps());
  return WaitUntil(start + last_begin + base::FromProto(pattern.interval()));
}

absl::Status PressureEngine::RunBurst(const v1::BurstPattern& pattern) {
  const double target = pattern.target_percent();
  const nanoseconds duration = base::FromProto(pattern.duration());
  log_.BeginPhase(v1::Phase::RAMP, target);
  BALLAST_ASSIGN_OR_RETURN(const Bound bound, MoveTo(target, duration + base::FromProto(workload_.recovery())));
  const std::uint64_t held = seams_.memory->held_bytes();
  switch (bound) {
    case Bound::kNone:
      summary_ = fmt::format("{:g} % in use reached with {} held", target, base::FormatBytes(held));
      break;
    case Bound::kFloor:
      summary_ = fmt::format("available memory was down to the floor of {:g} % before {:g} % were in use, with {} held",
                             floor_percent_, target, base::FormatBytes(held));
      break;
    case Bound::kNothingHeld:
      summary_ =
          fmt::format("other processes alone used {:.1f} %, more than the target of {:g} %: nothing was held at first",
                      last_reading_.used_percent(), target);
      break;
  }
  if (duration.count() <= 0) return absl::OkStatus();
  log_.BeginPhase(v1::Phase::HOLD, target);
  return Follow(
      seams_.pacer->Now(), duration, false, [target](nanoseconds) { return target; }, [](nanoseconds) {});
}

absl::Status PressureEngine::RunSawtooth(const v1::SawtoothPattern& pattern) {
  log_.BeginPhase(v1::Phase::RAMP, pattern.min_percent());
  const nanoseconds cycles_duration = CyclesDuration(pattern);
  BALLAST_RETURN_IF_ERROR(
      MoveTo(pattern.min_percent(), cycles_duration + base::FromProto(workload_.recovery())).status());
  // The cycles are what this pattern holds. Their target moves all the time, so the phase has none; RunnerState says
  // where it is.
  log_.BeginPhase(v1::Phase::HOLD, 0);
  std::uint32_t completed = 0;
  const auto tell_cycles = [&](nanoseconds elapsed) {
    while (completed < CyclesCompleted(pattern, elapsed)) {
      ++completed;
      log_.AddEvent(v1::Event::CYCLE_COMPLETED, fmt::format("cycle {} of {}", completed, pattern.cycles()), completed);
    }
  };
  BALLAST_RETURN_IF_ERROR(Follow(
      seams_.pacer->Now(), cycles_duration, true,
      [&pattern](nanoseconds elapsed) { return SawtoothPercent(pattern, elapsed); }, tell_cycles));
  summary_ =
      fmt::format("{} cycles between {:g} % and {:g} %", completed, pattern.min_percent(), pattern.max_percent());
  return absl::OkStatus();
}

absl::Status PressureEngine::RunAllocateFull(const v1::AllocateFullPattern& pattern) {
  log_.BeginPhase(v1::Phase::RAMP, 0);
  if (pattern.until() == v1::AllocateFullPattern::OOM) {
    // Ends with the process, or with the kernel's refusal, or with `stop`.
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(last_reading_, seams_.gauge->Read());
      BALLAST_RETURN_IF_ERROR(Grow(ChunkBytes(last_reading_.limit_bytes, log_.FillBytesPerSecond())));
    }
  }
  const nanoseconds hold = base::FromProto(pattern.hold());
  BALLAST_RETURN_IF_ERROR(MoveTo(100, hold + base::FromProto(workload_.recovery())).status());
  log_.MarkTargetReached();
  const std::uint64_t held = seams_.memory->held_bytes();
  summary_ = fmt::format("{} held when available memory was down to the floor of {:g} %", base::FormatBytes(held),
                         floor_percent_);
  if (hold.count() <= 0) return absl::OkStatus();
  log_.BeginPhase(v1::Phase::HOLD, 0);
  return WaitUntil(seams_.pacer->Now() + hold);
}

absl::StatusOr<Correction::Bound> PressureEngine::MoveTo(double target_percent, nanoseconds rest_of_plan) {
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const Correction correction, CorrectOnce(target_percent, true));
    // Where it is going at the present rate: the ramp is the one part of the plan that only the device knows.
    const double rate = log_.FillBytesPerSecond();
    if (rate > 0 && correction.error_bytes > 0) {
      const auto left = static_cast<double>(std::min<std::uint64_t>(static_cast<std::uint64_t>(correction.error_bytes),
                                                                    RoomAboveFloor(last_reading_, floor_percent_)));
      const std::chrono::duration<double> ramp(std::min(left / rate, 1e9));
      log_.SetPlanned(log_.Offset() + std::chrono::duration_cast<nanoseconds>(ramp) + rest_of_plan);
    }
    if (correction.move_bytes != 0) continue;
    log_.SetPlanned(log_.Offset() + rest_of_plan);
    const std::uint64_t held = seams_.memory->held_bytes();
    switch (correction.bound) {
      case Bound::kNone:
        log_.MarkTargetReached();
        log_.AddEvent(v1::Event::TARGET_REACHED,
                      fmt::format("{:.1f} % in use, {} held", last_reading_.used_percent(), base::FormatBytes(held)),
                      static_cast<double>(held));
        break;
      case Bound::kFloor:
        TellFloor(last_reading_);
        break;
      case Bound::kNothingHeld:
        TellLag(correction, target_percent, last_reading_);
        break;
    }
    log_.SetHeld(held, RunLog::Pace::kUrgent);
    return correction.bound;
  }
}

template <typename TargetAt, typename OnTick>
absl::Status PressureEngine::Follow(nanoseconds start, nanoseconds duration, bool target_moves, TargetAt target_at,
                                    OnTick on_tick) {
  nanoseconds period = kMovingPeriod;
  while (true) {
    const nanoseconds elapsed = std::min(seams_.pacer->Now() - start, duration);
    on_tick(elapsed);
    if (elapsed >= duration) return absl::OkStatus();
    const double target = target_at(elapsed);
    log_.SetTarget(target);
    bool moved = false;
    BALLAST_ASSIGN_OR_RETURN(const Correction last, Settle(target, target_moves, &moved));
    TellLag(last, target, last_reading_);
    log_.SetHeld(seams_.memory->held_bytes(), moved ? RunLog::Pace::kMoving : RunLog::Pace::kResting);
    period = moved ? kMovingPeriod : std::min(2 * period, kRestingPeriod);
    BALLAST_RETURN_IF_ERROR(WaitUntil(std::min(start + duration, seams_.pacer->Now() + period)));
  }
}

absl::StatusOr<Correction> PressureEngine::Settle(double target_percent, bool target_moves, bool* moved) {
  const nanoseconds end = seams_.pacer->Now() + kSettleTime;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const Correction correction, CorrectOnce(target_percent, target_moves || *moved));
    if (correction.bound == Bound::kFloor) TellFloor(last_reading_);
    if (correction.move_bytes == 0) return correction;
    *moved = true;
    if (seams_.pacer->Now() >= end) return correction;
  }
}

absl::StatusOr<Correction> PressureEngine::CorrectOnce(double target_percent, bool moving) {
  if (stop_.stop_requested()) return Cancelled();
  BALLAST_ASSIGN_OR_RETURN(last_reading_, seams_.gauge->Read());
  const ControlSettings settings = {
      .floor_percent = floor_percent_,
      .chunk_bytes = ChunkBytes(last_reading_.limit_bytes, log_.FillBytesPerSecond()),
  };
  const Correction correction =
      NextCorrection(last_reading_, seams_.memory->held_bytes(), target_percent, settings, moving);
  if (correction.move_bytes > 0) {
    BALLAST_RETURN_IF_ERROR(Grow(static_cast<std::uint64_t>(correction.move_bytes)));
  } else if (correction.move_bytes < 0) {
    Shrink(static_cast<std::uint64_t>(-correction.move_bytes));
  }
  return correction;
}

absl::StatusOr<bool> PressureEngine::GrowTo(std::uint64_t held_bytes) {
  while (seams_.memory->held_bytes() < held_bytes) {
    BALLAST_ASSIGN_OR_RETURN(last_reading_, seams_.gauge->Read());
    const std::uint64_t left = held_bytes - seams_.memory->held_bytes();
    const std::uint64_t room = RoomAboveFloor(last_reading_, floor_percent_);
    if (room < std::min(left, DeadBandBytes(last_reading_.limit_bytes) / 4)) {
      TellFloor(last_reading_);
      return false;
    }
    BALLAST_RETURN_IF_ERROR(
        Grow(std::min({left, room, ChunkBytes(last_reading_.limit_bytes, log_.FillBytesPerSecond())})));
  }
  return true;
}

absl::Status PressureEngine::Grow(std::uint64_t bytes) {
  const std::uint64_t before = seams_.memory->held_bytes();
  const nanoseconds begun = seams_.pacer->Now();
  const absl::Status status = seams_.memory->Grow(bytes, stop_);
  const std::uint64_t held = seams_.memory->held_bytes();
  log_.AddFill(held - before, seams_.pacer->Now() - begun);
  log_.SetHeld(held, RunLog::Pace::kMoving);
  if (absl::IsCancelled(status)) return Cancelled();
  if (absl::IsResourceExhausted(status)) {
    const std::string message = fmt::format(
        "the kernel refused {} more, with {} held and {} available: {}", base::FormatBytes(bytes),
        base::FormatBytes(held), base::FormatBytes(last_reading_.available_bytes), std::string(status.message()));
    log_.AddEvent(v1::Event::ALLOCATION_REFUSED, message, static_cast<double>(bytes));
    return absl::ResourceExhaustedError(message);
  }
  return status;
}

void PressureEngine::Shrink(std::uint64_t bytes) {
  seams_.memory->Shrink(bytes);
  log_.SetHeld(seams_.memory->held_bytes(), RunLog::Pace::kMoving);
}

absl::Status PressureEngine::WaitUntil(nanoseconds deadline) {
  while (true) {
    const nanoseconds wake = std::min(deadline, log_.NextStateDue());
    if (!seams_.pacer->WaitUntil(wake, stop_)) return Cancelled();
    log_.SetHeld(seams_.memory->held_bytes(), RunLog::Pace::kResting);
    if (wake == deadline) return absl::OkStatus();
  }
}

absl::Status PressureEngine::Cancelled() const {
  return absl::CancelledError(fmt::format("asked to stop after {}, with {} held", base::FormatDuration(log_.Offset()),
                                          base::FormatBytes(seams_.memory->held_bytes())));
}

void PressureEngine::TellFloor(const os::MemoryReading& reading) {
  const std::uint64_t available = std::min(reading.available_bytes, reading.headroom_bytes);
  TellAgain(&floor_notice_, true, v1::Event::FLOOR_REACHED,
            fmt::format("{} available, the floor is {:g} % of {}: nothing more is allocated",
                        base::FormatBytes(available), floor_percent_, base::FormatBytes(reading.limit_bytes)),
            static_cast<double>(available));
}

void PressureEngine::TellLag(const Correction& correction, double target_percent, const os::MemoryReading& reading) {
  if (correction.bound != Bound::kFloor) floor_notice_.holds = false;
  const double points = Points(reading, correction.error_bytes);
  const double distance = std::abs(static_cast<double>(correction.error_bytes));

  const bool occupied = correction.bound == Bound::kNothingHeld;
  TellAgain(&occupied_notice_, occupied, v1::Event::LAGGED,
            fmt::format("other processes alone use {:.1f} %, the target is {:.1f} %: nothing is held",
                        reading.used_percent(), target_percent),
            distance);

  const bool behind = correction.bound == Bound::kNone && std::abs(points) > kLagPoints;
  const nanoseconds now = seams_.pacer->Now();
  if (!behind) behind_since_.reset();
  if (behind && !behind_since_) behind_since_ = now;
  const bool long_enough = behind_since_ && now - *behind_since_ >= kLagTime;
  TellAgain(&behind_notice_, long_enough, v1::Event::LAGGED,
            fmt::format("{:.1f} % in use, the target is {:.1f} %: memory moves more slowly than the target",
                        reading.used_percent(), target_percent),
            distance);
}

void PressureEngine::TellAgain(Notice* notice, bool holds, v1::Event::Kind kind, const std::string& message,
                               double value) {
  const bool begins = holds && !notice->holds;
  notice->holds = holds;
  const nanoseconds now = seams_.pacer->Now();
  if (!begins || (notice->last_told && now - *notice->last_told < kNoticeInterval)) return;
  notice->last_told = now;
  log_.AddEvent(kind, message, value);
}

}  // namespace ballast::pressure
