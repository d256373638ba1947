#include "worker/pressure/target_loop.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Bound = Correction::Bound;

// How soon to look again after a move.
constexpr nanoseconds kMovingPeriod = milliseconds(10);

// A correction that takes longer is left off, to look whether the target has moved.
constexpr nanoseconds kSettleTime = milliseconds(50);

// Being off the target by more than a point for longer than this is told.
constexpr double kLagPoints = 1.0;
constexpr nanoseconds kLagTime = milliseconds(250);

double PercentOf(std::int64_t bytes, std::uint64_t limit_bytes) {
  return limit_bytes == 0 ? 0.0 : 100.0 * static_cast<double>(bytes) / static_cast<double>(limit_bytes);
}

}  // namespace

absl::StatusOr<Bound> TargetLoop::MoveTo(const Target& target, nanoseconds rest_of_plan) {
  RunLog& log = mover_->log();
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const Correction correction, CorrectOnce(target, true));
    PlanRamp(correction, rest_of_plan);
    if (correction.move_bytes != 0) continue;
    if (correction.bound == Bound::kPaused) {
      BALLAST_RETURN_IF_ERROR(mover_->WaitWhilePaused());
      continue;
    }
    log.SetPlanned(log.Offset() + rest_of_plan);
    const std::uint64_t held = mover_->held_bytes();
    if (correction.bound == Bound::kNone) {
      log.MarkTargetReached();
      log.AddEvent(v1::Event::TARGET_REACHED,
                   fmt::format("{:.1f} % in use, {} held", mover_->reading().used_percent(), base::FormatBytes(held)),
                   static_cast<double>(held));
    } else if (correction.bound == Bound::kFloor) {
      mover_->TellFloor();
    } else {
      TellLag(correction);
    }
    log.SetHeld(held, RunLog::Pace::kUrgent);
    return correction.bound;
  }
}

// Where it is going at the present rate: the ramp is the one part of the plan that only the device knows.
void TargetLoop::PlanRamp(const Correction& correction, nanoseconds rest_of_plan) {
  RunLog& log = mover_->log();
  const double rate = log.FillBytesPerSecond();
  if (!(rate > 0) || correction.error_bytes <= 0) return;
  const auto left = static_cast<double>(std::min<std::uint64_t>(
      static_cast<std::uint64_t>(correction.error_bytes), RoomAboveFloor(mover_->reading(), mover_->floor_percent())));
  const std::chrono::duration<double> ramp(std::min(left / rate, 1e9));
  log.SetPlanned(log.Offset() + std::chrono::duration_cast<nanoseconds>(ramp) + rest_of_plan);
}

absl::Status TargetLoop::Follow(nanoseconds duration, bool target_moves, const TargetAt& target_at,
                                const std::function<void(nanoseconds)>& on_tick) {
  const nanoseconds start = mover_->Now();
  while (true) {
    const nanoseconds elapsed = std::min(mover_->Now() - start, duration);
    if (on_tick) on_tick(elapsed);
    if (elapsed >= duration) return absl::OkStatus();
    bool moved = false;
    const Target target = [&](std::uint64_t limit_bytes) { return target_at(elapsed, limit_bytes); };
    BALLAST_ASSIGN_OR_RETURN(const Correction last, Settle(target, target_moves, &moved));
    TellLag(last);
    mover_->log().SetHeld(mover_->held_bytes(), moved ? RunLog::Pace::kMoving : RunLog::Pace::kResting);
    const nanoseconds period = moved ? kMovingPeriod : LookPeriod(mover_->look_cost());
    BALLAST_RETURN_IF_ERROR(mover_->WaitUntil(std::min(start + duration, mover_->Now() + period)));
  }
}

absl::StatusOr<Correction> TargetLoop::Settle(const Target& target, bool target_moves, bool* moved) {
  const nanoseconds end = mover_->Now() + kSettleTime;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const Correction correction, CorrectOnce(target, target_moves || *moved));
    if (correction.bound == Bound::kFloor) mover_->TellFloor();
    if (correction.move_bytes == 0) return correction;
    *moved = true;
    if (mover_->Now() >= end) return correction;
  }
}

absl::StatusOr<Correction> TargetLoop::CorrectOnce(const Target& target, bool moving) {
  BALLAST_ASSIGN_OR_RETURN(const os::MemoryReading reading, mover_->Look());
  const std::uint64_t target_bytes = target(reading.limit_bytes);
  target_percent_ = PercentOf(static_cast<std::int64_t>(target_bytes), reading.limit_bytes);
  mover_->log().SetTarget(target_percent_);
  const ControlSettings settings = {
      .floor_percent = mover_->floor_percent(),
      .chunk_bytes = mover_->chunk_bytes(),
      .paused = mover_->paused(),
  };
  const Correction correction = NextCorrection(reading, mover_->held_bytes(), target_bytes, settings, moving);
  if (correction.move_bytes > 0) {
    BALLAST_RETURN_IF_ERROR(mover_->Grow(static_cast<std::uint64_t>(correction.move_bytes)));
  } else if (correction.move_bytes < 0) {
    mover_->Shrink(static_cast<std::uint64_t>(-correction.move_bytes));
  }
  return correction;
}

void TargetLoop::TellLag(const Correction& correction) {
  if (correction.bound != Bound::kFloor) mover_->LeaveFloor();
  const double used_percent = mover_->reading().used_percent();
  const auto distance = static_cast<double>(std::abs(correction.error_bytes));

  const bool occupied = correction.bound == Bound::kNothingHeld;
  mover_->log().Tell(&occupied_notice_, occupied, v1::Event::LAGGED,
                     fmt::format("other processes alone use {:.1f} %, the target is {:.1f} %: nothing is held",
                                 used_percent, target_percent_),
                     distance);

  const double points = PercentOf(correction.error_bytes, mover_->reading().limit_bytes);
  const bool behind = correction.bound == Bound::kNone && std::abs(points) > kLagPoints;
  const nanoseconds now = mover_->Now();
  if (!behind) behind_since_.reset();
  if (behind && !behind_since_) behind_since_ = now;
  const bool long_enough = behind_since_ && now - *behind_since_ >= kLagTime;
  if (long_enough) mover_->log().AddLag(static_cast<std::uint64_t>(std::abs(correction.error_bytes)));
  mover_->log().Tell(&behind_notice_, long_enough, v1::Event::LAGGED,
                     fmt::format("{:.1f} % in use, the target is {:.1f} %: memory moves more slowly than the target",
                                 used_percent, target_percent_),
                     distance);
}

}  // namespace ballast::pressure
