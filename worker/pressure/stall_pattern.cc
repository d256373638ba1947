#include "worker/pressure/stall_pattern.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/os/memory_stall.h"
#include "worker/pressure/pattern_curve.h"
#include "worker/pressure/stall_control.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;

// Nothing left to allocate for this long, and no stall: then this is all the device has.
constexpr nanoseconds kFloorPatience = std::chrono::seconds(3);

// An average that only falls from the stall of the ramp, or rises, passes through what counts as close in five seconds,
// or, where some stall is left, in ten: so the stall of this time has to be close as well, and about the same in the
// end.
constexpr nanoseconds kAveragePatience = std::chrono::seconds(8);

// While more than this is available, tasks may stall for what went out in the ramp only, and less and less: each page
// that is touched comes back and stays. So the stall has to last for some rounds of touching then.
constexpr double kFullShare = 0.025;
constexpr double kPatientRounds = 2.5;

// What can still be had, because it is free, or because something can leave for it.
std::uint64_t Left(const os::MemoryReading& reading) {
  return reading.headroom_bytes + reading.swap_headroom_bytes + reading.held_file_bytes;
}

std::uint64_t LeftAboveFloor(const os::MemoryReading& reading, double floor_percent) {
  const std::uint64_t left = Left(reading);
  const std::uint64_t floor = BytesOfPercent(reading.limit_bytes, floor_percent);
  return left > floor ? left - floor : 0;
}

// Looks and moves, on the mover's hands.
class StallLoop {
 public:
  StallLoop(const v1::PsiTarget& target, MemoryMover* mover)
      : full_(target.kind() == v1::PsiTarget::FULL),
        target_percent_(target.percent()),
        control_(target.percent(), mover->SetTouchInterval(StallControl::kFirstTouchInterval),
                 static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
        mover_(mover) {}

  // One look, one move, and the wait after it, which ends at `deadline` at the latest.
  absl::Status Turn(nanoseconds deadline) {
    BALLAST_ASSIGN_OR_RETURN(const os::MemoryReading reading, mover_->Look());
    BALLAST_ASSIGN_OR_RETURN(const os::StallReading stall, mover_->stall()->Read());
    const os::StallFigure& figure = full_ ? stall.full : stall.some;
    FollowAverage(figure);
    const bool full =
        static_cast<double>(reading.headroom_bytes) <= kFullShare * static_cast<double>(reading.limit_bytes);
    if (!full) full_since_.reset();
    if (full && !full_since_) full_since_ = mover_->Now();
    if (!first_swap_headroom_bytes_) first_swap_headroom_bytes_ = reading.swap_headroom_bytes;
    std::uint64_t swapped =
        *first_swap_headroom_bytes_ - std::min(*first_swap_headroom_bytes_, reading.swap_headroom_bytes);
    // Pages of files are dropped instead.
    if (reading.held_file_bytes > 0)
      swapped = mover_->held_bytes() - std::min<std::uint64_t>(mover_->held_bytes(), reading.held_file_bytes);
    const StallMove move = control_.Next({.time = mover_->Now(),
                                          .stalled_us = figure.total_us,
                                          .limit_bytes = reading.limit_bytes,
                                          .available_bytes = reading.headroom_bytes,
                                          .left_bytes = LeftAboveFloor(reading, mover_->floor_percent()),
                                          .held_bytes = mover_->held_bytes(),
                                          .swapped_bytes = swapped,
                                          .touch_time = mover_->touch_time()});
    mover_->SetTouchInterval(control_.touch_interval());
    const bool grows = move.bytes > 0 && !mover_->paused();
    if (grows) BALLAST_RETURN_IF_ERROR(Grow(static_cast<std::uint64_t>(move.bytes)));
    if (move.bytes < 0) mover_->Shrink(static_cast<std::uint64_t>(-move.bytes));
    FollowFloor(move, reading);
    mover_->log().SetHeld(mover_->held_bytes(), grows ? RunLog::Pace::kMoving : RunLog::Pace::kResting);
    if (grows && move.look_again) return absl::OkStatus();
    return mover_->WaitUntil(std::min(deadline, mover_->Now() + StallControl::kPeriod));
  }

  // The stall is what is wanted, and the kernel's own average, which follows after some ten seconds, has said so for a
  // while.
  [[nodiscard]] bool reached() const {
    if (!control_.reached() || !average_since_) return false;
    const nanoseconds passed = mover_->Now() - *average_since_;
    const bool full = full_since_ && mover_->Now() - *full_since_ >= kAveragePatience;
    const std::chrono::duration<double, std::nano> rounds = kPatientRounds * control_.touch_interval();
    const auto patience = full ? kAveragePatience : std::max(kAveragePatience, std::chrono::round<nanoseconds>(rounds));
    if (passed < patience) return false;
    const double stalled = PercentSince(*average_since_, stalled_before_us_);
    const double lately = PercentSince(recent_.front().time, recent_.front().stalled_us);
    return IsClose(stalled) && std::abs(lately - stalled) <= control_.tolerance_percent() / 2;
  }
  // Nothing is left to allocate, for some time already, and the stall is less than wanted.
  [[nodiscard]] bool at_floor() const { return floor_since_ && mover_->Now() - *floor_since_ >= kFloorPatience; }
  [[nodiscard]] double avg10_percent() const { return avg10_percent_; }

 private:
  // In chunks: the device may be slow, and an interruption comes first.
  absl::Status Grow(std::uint64_t bytes) {
    const std::uint64_t goal = mover_->held_bytes() + bytes;
    while (mover_->held_bytes() < goal && !mover_->paused()) {
      BALLAST_RETURN_IF_ERROR(mover_->Grow(std::min(goal - mover_->held_bytes(), mover_->chunk_bytes())));
    }
    return absl::OkStatus();
  }

  [[nodiscard]] bool IsClose(double percent) const {
    return std::abs(percent - target_percent_) <= control_.tolerance_percent();
  }

  [[nodiscard]] double PercentSince(nanoseconds time, std::uint64_t stalled_us) const {
    return static_cast<double>(stalled_us_ - stalled_us) / 1e4 / base::ToSeconds(mover_->Now() - time);
  }

  void FollowAverage(const os::StallFigure& figure) {
    avg10_percent_ = figure.avg10_percent;
    stalled_us_ = figure.total_us;
    const nanoseconds now = mover_->Now();
    while (recent_.size() > 1 && now - recent_[1].time >= kAveragePatience / 2) recent_.pop_front();
    recent_.push_back({now, stalled_us_});
    if (!IsClose(avg10_percent_)) average_since_.reset();
    if (!IsClose(avg10_percent_) || average_since_) return;
    average_since_ = mover_->Now();
    stalled_before_us_ = stalled_us_;
  }

  void FollowFloor(const StallMove& move, const os::MemoryReading& reading) {
    if (!move.at_floor) {
      floor_since_.reset();
      floor_notice_.holds = false;
      return;
    }
    if (!floor_since_) floor_since_ = mover_->Now();
    const std::uint64_t left = Left(reading);
    mover_->log().Tell(
        &floor_notice_, at_floor(), v1::Event::FLOOR_REACHED,
        fmt::format("{} available or free in swap, the floor is {:g} % of {}: nothing more is allocated",
                    base::FormatBytes(left), mover_->floor_percent(), base::FormatBytes(reading.limit_bytes)),
        static_cast<double>(left));
  }

  bool full_;
  double target_percent_;
  double avg10_percent_ = 0;
  StallControl control_;
  MemoryMover* mover_;
  std::optional<std::uint64_t> first_swap_headroom_bytes_;  // before anything of the load was swapped out
  std::optional<nanoseconds> average_since_;                // how long it has been close to the target
  std::uint64_t stalled_us_ = 0;                            // in all, now
  std::uint64_t stalled_before_us_ = 0;                     // and at `average_since_`
  // Over the latter half of `kAveragePatience`, the oldest first.
  struct Stalled {
    nanoseconds time;
    std::uint64_t stalled_us;
  };
  std::deque<Stalled> recent_;
  std::optional<nanoseconds> full_since_;  // how long next to nothing has been available
  std::optional<nanoseconds> floor_since_;
  RunLog::Notice floor_notice_;
};

}  // namespace

absl::StatusOr<std::string> RunStallBurst(const v1::BurstPattern& pattern, nanoseconds recovery, MemoryMover* mover) {
  if (mover->stall() == nullptr) {
    return absl::InvalidArgumentError(
        "the kernel tells of no stalls on memory, so none can be held; it needs CONFIG_PSI, and psi=1 on its command "
        "line where that is off by default");
  }
  const v1::PsiTarget& target = pattern.target_psi();
  const nanoseconds duration = base::FromProto(pattern.duration());
  RunLog& log = mover->log();
  StallLoop loop(target, mover);
  log.BeginPhase(v1::Phase::RAMP, {.stall = target});
  while (!loop.reached() && !loop.at_floor()) {
    BALLAST_RETURN_IF_ERROR(loop.Turn(mover->Now() + StallControl::kPeriod));
  }
  log.SetPlanned(log.Offset() + duration + recovery);
  const std::uint64_t held = mover->held_bytes();
  const char* const kind = target.kind() == v1::PsiTarget::FULL ? "full" : "some";
  std::string summary;
  if (loop.at_floor()) {
    summary = fmt::format(
        "available memory and free swap were down to the floor of {:g} % before tasks stalled for {:g} % of the time "
        "({}), with {} held",
        mover->floor_percent(), target.percent(), kind, base::FormatBytes(held));
  } else {
    summary =
        fmt::format("a stall of {:g} % ({}) reached with {} held", target.percent(), kind, base::FormatBytes(held));
    log.MarkTargetReached();
    log.AddEvent(v1::Event::TARGET_REACHED,
                 fmt::format("tasks stall for {:.1f} % of the time ({}), {} held", loop.avg10_percent(), kind,
                             base::FormatBytes(held)),
                 static_cast<double>(held));
  }
  if (duration.count() <= 0) return summary;
  BALLAST_RETURN_IF_ERROR(mover->BeginHold({.stall = target}));
  const nanoseconds end = mover->Now() + duration;
  // What makes tasks stall from now on is not this load.
  if (mover->holds_until_told()) BALLAST_RETURN_IF_ERROR(mover->WaitUntil(end));
  while (mover->Now() < end) BALLAST_RETURN_IF_ERROR(loop.Turn(end));
  return summary;
}

}  // namespace ballast::pressure
