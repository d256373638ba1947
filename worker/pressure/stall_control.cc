#include "worker/pressure/stall_control.h"

#include <algorithm>
#include <cmath>

#include "common/base/clock.h"

namespace ballast::pressure {
namespace {

// Nothing is known from shorter stretches.
constexpr std::chrono::nanoseconds kShortestMeasure = std::chrono::milliseconds(20);

// The response time is twice the time of touching, within these bounds.
constexpr double kShortestResponseSeconds = 2;
constexpr double kLongestResponseSeconds = 6;

// Where the far stage ends: less than this share of the limit is available, or a first stall shows.
constexpr double kNearShare = 0.04;
constexpr double kFarStep = 1.0 / 256;

// Growth while near: the first rate, in shares of the limit a second, how long it takes to double, and its bounds.
constexpr double kFirstRate = 1.0 / 2048;
constexpr double kDoublingSeconds = 1.5;
constexpr double kGreatestRate = 0.02;
constexpr double kSecondsOfWhatIsLeft = 10;

// The open loop's crossover in radians a response time: with the response's own lag and that of the measure, a phase
// margin of about 60 degrees remains.
constexpr double kCrossover = 0.35;

// No stall for so many response times: it is far away again.
constexpr double kQuietResponses = 3;

constexpr double kReliefResponses = 0.7;
constexpr double kSpanAfterRelief = 0.7;
constexpr double kSpanAfterSecondRelief = 2;
// In this time moves to and fro should come to less than this share of a span.
constexpr double kUnrestResponses = 3;
constexpr double kMostUnrest = 0.7;

// Bounds of the span in shares of the limit, where only memory moves, and where the pace of touching does too.
constexpr double kLeastSpan = 1.0 / 65536;
constexpr double kLeastPacedSpan = 1.0 / 16;
constexpr double kMostSpan = 1.0 / 4;
// Bounds of the time in which everything is touched, and how much of it changes at once.
constexpr double kFastestTouchSeconds = 1;
constexpr double kSlowestTouchSeconds = 90;
constexpr double kPaceStep = 1.5;
// How far from the target the stall may be for a change of pace to make up for that, too.
constexpr double kLeastMiss = 0.5;
constexpr double kMostMiss = 1.5;

// Errors are counted in targets. Beyond this they are large.
constexpr double kLargeError = 0.3;

double Decay(double seconds, double time_constant) {
  return std::exp(-seconds / time_constant);
}

}  // namespace

StallControl::StallControl(double target_percent, bool paces, std::uint64_t page_bytes)
    : target_percent_(std::max(target_percent, 0.1)),
      paces_(paces),
      page_bytes_(static_cast<double>(page_bytes)),
      touch_interval_s_(base::ToSeconds(kFirstTouchInterval)),
      response_s_(kShortestResponseSeconds) {}

std::chrono::nanoseconds StallControl::touch_interval() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(touch_interval_s_));
}

bool StallControl::reached() const {
  return stage_ == Stage::kHolding && std::abs(slow_percent_ - target_percent_) <= tolerance_percent();
}

double StallControl::tolerance_percent() const {
  return std::min(5.0, target_percent_ / 4);
}

void StallControl::Measure(const StallLook& look) {
  const double seconds = base::ToSeconds(look.time - last_->time);
  const double stalled_s = static_cast<double>(look.stalled_us - std::min(look.stalled_us, last_->stalled_us)) / 1e6;
  const double percent = std::min(100.0, 100.0 * stalled_s / seconds);
  // It changes from round to round: followed slowly, so that the loop is the same over its own time.
  const double touched =
      std::clamp(2 * base::ToSeconds(look.touch_time), kShortestResponseSeconds, kLongestResponseSeconds);
  response_s_ += (1 - Decay(seconds, 2 * response_s_)) * (touched - response_s_);
  const double fast = Decay(seconds, response_s_ / 3);
  const double slow = Decay(seconds, response_s_);
  fast_percent_ = fast * fast_percent_ + (1 - fast) * percent;
  slow_percent_ = slow * slow_percent_ + (1 - slow) * percent;
}

StallMove StallControl::Next(const StallLook& look) {
  if (!last_) {
    last_ = look;
    return {.look_again = true};
  }
  const std::chrono::nanoseconds passed = look.time - last_->time;
  if (passed < kShortestMeasure) return stage_ == Stage::kFar ? MoveFar(look) : StallMove();
  Measure(look);
  last_ = look;
  if (stage_ == Stage::kFar) return MoveFar(look);

  const double seconds = base::ToSeconds(passed);
  unmoved_bytes_ += stage_ == Stage::kNear ? MoveNear(look, seconds) : MoveHolding(look, seconds);
  StallMove move;
  const double left = static_cast<double>(look.left_bytes);
  if (unmoved_bytes_ > 0 && left < page_bytes_) move.at_floor = true;
  unmoved_bytes_ = std::clamp(unmoved_bytes_, -static_cast<double>(look.held_bytes), left);
  // Moves that are small against the span would only cost calls.
  if (std::abs(unmoved_bytes_) < std::max(page_bytes_, span_bytes_ / 256)) return move;
  const double pages = std::trunc(unmoved_bytes_ / page_bytes_);
  move.bytes = static_cast<std::int64_t>(pages * page_bytes_);
  unmoved_bytes_ -= static_cast<double>(move.bytes);
  return move;
}

StallMove StallControl::MoveFar(const StallLook& look) {
  const auto limit = static_cast<double>(look.limit_bytes);
  const double spare = static_cast<double>(look.available_bytes) - kNearShare * limit;
  if (spare <= 0 || fast_percent_ >= std::max(2.0, 0.2 * target_percent_)) {
    stage_ = Stage::kNear;
    rate_bytes_per_second_ = kFirstRate * limit;
    return {};
  }
  const double step =
      std::min({kFarStep * limit, std::max(spare / 2, page_bytes_), static_cast<double>(look.left_bytes)});
  if (step < page_bytes_) return {.at_floor = true};
  return {.bytes = static_cast<std::int64_t>(step / page_bytes_) * static_cast<std::int64_t>(page_bytes_),
          .look_again = true};
}

double StallControl::MoveNear(const StallLook& look, double seconds) {
  if (fast_percent_ >= 0.6 * target_percent_ || slow_percent_ >= 0.4 * target_percent_) {
    BeginHolding(look);
    return MoveHolding(look, seconds);
  }
  const auto limit = static_cast<double>(look.limit_bytes);
  // Whatever answers, however little, ends the doubling: the stall may be steep.
  const bool answers = fast_percent_ >= std::max(1.0, 0.1 * target_percent_);
  if (!answers) rate_bytes_per_second_ *= std::exp2(std::min(seconds, 1.0) / kDoublingSeconds);
  rate_bytes_per_second_ = std::min(
      {rate_bytes_per_second_, kGreatestRate * limit, static_cast<double>(look.left_bytes) / kSecondsOfWhatIsLeft});
  return rate_bytes_per_second_ * std::min(seconds, 0.5);
}

void StallControl::BeginHolding(const StallLook& look) {
  stage_ = Stage::kHolding;
  slow_before_percent_ = slow_percent_;
  unmoved_bytes_ = 0;
  owed_bytes_ = 0;
  // What was allocated between the cause and its measure.
  const auto limit = static_cast<double>(look.limit_bytes);
  span_bytes_ = std::max(rate_bytes_per_second_ * 0.25 * response_s_, (paces_ ? kLeastPacedSpan : kLeastSpan) * limit);
}

double StallControl::MoveHolding(const StallLook& look, double seconds) {
  // No stall at all: others have left, or memory had to be given back. The integral would take long.
  quiet_s_ = slow_percent_ < 0.1 * target_percent_ ? quiet_s_ + seconds : 0;
  if (quiet_s_ >= kQuietResponses * response_s_) {
    quiet_s_ = 0;
    stage_ = Stage::kFar;
    return 0;
  }
  const double error = (target_percent_ - slow_percent_) / target_percent_;
  const double rise = (slow_percent_ - slow_before_percent_) / target_percent_;
  slow_before_percent_ = slow_percent_;
  AdaptSpan(look, error, seconds);

  // Far too much is answered at once, and then the answer is waited for.
  since_relief_s_ += seconds;
  const double excess = (fast_percent_ - target_percent_) / target_percent_;
  if (slow_percent_ > target_percent_ && fast_percent_ > std::max(2 * target_percent_, target_percent_ + 30) &&
      since_relief_s_ >= kReliefResponses * response_s_) {
    const double relief = -0.5 * span_bytes_ * std::min(excess, 2.0);
    // Once, and it was this loop that went too far. Again, and it was not enough.
    span_bytes_ *= since_relief_s_ < 2 * response_s_ ? kSpanAfterSecondRelief : kSpanAfterRelief;
    BoundSpan(look);
    owed_bytes_ = 0;
    since_relief_s_ = 0;
    return relief;
  }
  const double step = std::min(seconds, 0.5) / response_s_;
  const double integral = kCrossover * std::clamp(error, -2.0, 1.0) * step;
  const double proportional = -kCrossover * std::clamp(rise, -1.0, 1.0);
  double moved = span_bytes_ * (integral + proportional);
  const double owed = owed_bytes_ * std::min(1.0, seconds / response_s_);
  owed_bytes_ -= owed;
  moved += owed;
  if (since_relief_s_ < kReliefResponses * response_s_) moved = std::min(moved, 0.0);
  // Allocating is a stall itself where the device is slow. A loop that goes to and fro answers what it has caused. Not
  // at a pace of its own choice: there the span is no smaller than what the kernel's own pieces make it do.
  const double lately = Decay(seconds, kUnrestResponses * response_s_);
  moved_bytes_ = lately * moved_bytes_ + std::abs(moved);
  net_moved_bytes_ = lately * net_moved_bytes_ + moved;
  if (!paces_ && moved_bytes_ - std::abs(net_moved_bytes_) > kMostUnrest * span_bytes_) {
    span_bytes_ *= 0.7;
    moved_bytes_ /= 2;
    net_moved_bytes_ /= 2;
    BoundSpan(look);
  }
  const double most = static_cast<double>(look.left_bytes) / kSecondsOfWhatIsLeft * std::min(seconds, 0.5);
  return std::min(moved, most);
}

void StallControl::AdaptSpan(const StallLook& look, double error, double seconds) {
  since_crossing_s_ += seconds;
  const int side = error > kLargeError ? 1 : (error < -kLargeError ? -1 : 0);
  if (side == 0) {
    away_s_ = 0;
    return;
  }
  if (side != side_) {
    // From large on one side to large on the other faster than a loop that is slow enough would go: it is too strong.
    if (side_ != 0 && since_crossing_s_ < 10 * response_s_) span_bytes_ *= 0.6;
    side_ = side;
    since_crossing_s_ = 0;
    away_s_ = 0;
  }
  away_s_ += seconds;
  // The integral alone should have moved a whole span by then.
  const double patience_s = (side > 0 ? 4 : 3) * response_s_;
  if (away_s_ >= patience_s) {
    span_bytes_ *= 1.5;
    // A span that is far too small, because something else has stalled when memory became full, must not take minutes.
    away_s_ = patience_s - (side > 0 && !paces_ ? response_s_ : patience_s / 2);
  }
  BoundSpan(look);
}

void StallControl::BoundSpan(const StallLook& look) {
  const double least = (paces_ ? kLeastPacedSpan : kLeastSpan) * static_cast<double>(look.limit_bytes);
  const double most = kMostSpan * static_cast<double>(look.limit_bytes);
  if (paces_ && span_bytes_ < least) SetPace(touch_interval_s_ * std::min(kPaceStep, least / span_bytes_), look);
  if (paces_ && span_bytes_ > most) SetPace(touch_interval_s_ / std::min(kPaceStep, span_bytes_ / most), look);
  span_bytes_ = std::clamp(span_bytes_, least, most);
}

void StallControl::SetPace(double touch_interval_s, const StallLook& look) {
  const double interval_s = std::clamp(touch_interval_s, kFastestTouchSeconds, kSlowestTouchSeconds);
  if (interval_s == touch_interval_s_) return;
  const double miss = std::clamp(target_percent_ / std::max(slow_percent_, 0.1), kLeastMiss, kMostMiss);
  owed_bytes_ = static_cast<double>(look.swapped_bytes) * (interval_s / touch_interval_s_ * miss - 1);
  touch_interval_s_ = interval_s;
  // What the stall does next is the answer to this, and says nothing about the span.
  side_ = 0;
  away_s_ = 0;
}

}  // namespace ballast::pressure
