#include "worker/guard/guard_policy.h"

#include <algorithm>
#include <limits>
namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// In the order in which they are acted on.
constexpr std::array<v1::GuardAct::Signal, 5> kOrder = {v1::GuardAct::AVAILABLE_MEMORY, v1::GuardAct::AGENT_DELAY,
                                                        v1::GuardAct::PSI_FULL, v1::GuardAct::SWAP_IN_RATE,
                                                        v1::GuardAct::REFAULT_RATE};
constexpr std::size_t kAvailable = 0;
constexpr std::size_t kDelay = 1;
constexpr std::size_t kPsiFull = 2;
constexpr std::size_t kSwapIn = 3;
constexpr std::size_t kRefault = 4;

constexpr double kClearRatio = 0.85;
constexpr double kWarnRatio = 0.75;
constexpr seconds kWarnInterval(10);
constexpr seconds kShrinkInterval(60);
constexpr milliseconds kShrinkGrace(500);
constexpr seconds kShrinkAgain(5);  // of a load that cannot be ended
constexpr seconds kMeanSpan(1);     // of stalls and rates
constexpr seconds kLeastPause(5);
constexpr std::uint64_t kShrinkShare = 8;  // an eighth of what is held
constexpr double kSevereAvailable = 4;
constexpr double kSevereStall = 2;
constexpr double kSevereDelay = 3;
constexpr double kDelayedByStall = 25;  // percent of the time
constexpr milliseconds kReleaseBeginTime(300);
constexpr milliseconds kStuckTime(1000);
constexpr seconds kReleaseEndTime(5);
constexpr std::uint64_t kLeastReleased = 1U << 20U;
constexpr std::uint64_t kLeastHeld = 16U << 20U;

bool IsImmediate(std::size_t index) {
  return index == kAvailable || index == kDelay;
}

}  // namespace

std::array<GuardPolicy::Measure, GuardPolicy::kSignals> GuardPolicy::MeasureAll(const Readings& readings) const {
  std::array<Measure, kSignals> measures;
  const auto upper = [&measures](std::size_t index, std::optional<double> value, double threshold, double severe) {
    if (!value) return;
    const double ratio = threshold > 0 ? *value / threshold : 0;
    measures[index] = {*value, threshold, ratio, severe > 0 && ratio >= severe};
  };
  if (readings.available_bytes) {
    const std::uint64_t swap = thresholds_.free_swap_counts ? readings.free_swap_bytes : 0;
    const auto value = static_cast<double>(*readings.available_bytes + swap);
    const double threshold = thresholds_.min_available_percent / 100 * static_cast<double>(readings.limit_bytes);
    const double ratio = value > 0 ? threshold / value : (threshold > 0 ? std::numeric_limits<double>::infinity() : 0);
    measures[kAvailable] = {value, threshold, ratio, ratio >= kSevereAvailable};
  }
  const bool delayed_by_stall = !readings.has_psi || readings.psi_some_percent.value_or(0) >= kDelayedByStall;
  if (delayed_by_stall) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    upper(kDelay, Milliseconds(readings.delay).count(), Milliseconds(thresholds_.max_delay).count(), kSevereDelay);
  }
  upper(kPsiFull, readings.psi_full_percent, thresholds_.max_psi_full_percent, kSevereStall);
  // What counts already goes on to count until the stall is clear of its bound too.
  const bool rate_beyond = trackers_[kSwapIn].beyond || trackers_[kRefault].beyond;
  const double stalling = thresholds_.stalling_percent * (rate_beyond ? kClearRatio : 1);
  if (!readings.has_psi || readings.psi_full_percent.value_or(0) >= stalling) {
    upper(kSwapIn, readings.swap_in_bytes_per_second, thresholds_.max_swap_in_bytes_per_second, 0);
    upper(kRefault, readings.refault_bytes_per_second, thresholds_.max_refault_bytes_per_second, 0);
  }
  return measures;
}

void GuardPolicy::Track(const std::array<Measure, kSignals>& measures, const Readings& readings) {
  // Until then they still have in them what was before the shrink.
  const bool means_usable = !shrunk_ || readings.time - *shrunk_ >= kMeanSpan;
  for (std::size_t i = 0; i < kSignals; ++i) {
    Tracker& tracker = trackers_[i];
    if (tracker.beyond) {
      tracker.beyond = measures[i].ratio >= kClearRatio;
    } else if (measures[i].ratio > 1 && (means_usable || IsImmediate(i))) {
      tracker.beyond = true;
      tracker.since = readings.time;
    }
  }
}

std::optional<std::size_t> GuardPolicy::Due(const std::array<Measure, kSignals>& measures, nanoseconds now) const {
  std::optional<std::size_t> due;
  for (std::size_t i = 0; i < kSignals; ++i) {
    const nanoseconds wait = IsImmediate(i) ? nanoseconds(0) : thresholds_.patience;
    // Above the threshold now, not only within the distance that it takes to be clear of it.
    if (!trackers_[i].beyond || now - trackers_[i].since < wait || measures[i].ratio <= 1) continue;
    if (measures[i].severe) return i;
    if (!due) due = i;
  }
  return due;
}

std::optional<Act> GuardPolicy::Next(const Readings& readings) {
  tense_ = false;
  if (killed_ || !readings.held_bytes) return std::nullopt;
  if (release_) return AfterRelease(readings);
  const std::array<Measure, kSignals> measures = MeasureAll(readings);
  Track(measures, readings);
  tense_ = std::ranges::any_of(trackers_, &Tracker::beyond);
  if (!thresholds_.can_end || *readings.held_bytes >= std::max(kLeastHeld, readings.limit_bytes / 100)) {
    if (const auto due = Due(measures, readings.time)) {
      if (std::optional<Act> act = ActOn(*due, measures[*due], readings)) return act;
    }
  }
  return Warn(measures, readings);
}

std::optional<Act> GuardPolicy::ActOn(std::size_t index, const Measure& measure, const Readings& readings) {
  const nanoseconds now = readings.time;
  const bool shrunk_lately = shrunk_ && now - *shrunk_ < kShrinkInterval;
  if (!thresholds_.can_end) {
    if (shrunk_ && now - *shrunk_ < kShrinkAgain) return std::nullopt;
  } else if (!measure.severe && shrunk_lately && now - *shrunk_ < kShrinkGrace) {
    return std::nullopt;
  }
  Act act;
  act.signal = kOrder[index];
  act.time = now;
  act.value = measure.value;
  act.threshold = measure.threshold;
  act.limit_bytes = readings.limit_bytes;
  act.held_bytes = *readings.held_bytes;
  if (thresholds_.can_end && (measure.severe || shrunk_lately || !thresholds_.can_shrink)) {
    act.action = v1::GuardAct::RELEASE_ASKED;
    release_ = act;
    release_held_ = act.held_bytes;
    release_moved_ = now;
    tense_ = true;
  } else {
    act.action = v1::GuardAct::SHRINK_ASKED;
    act.shrink_bytes = ShrinkBytes(act, readings);
    act.pause = std::max<nanoseconds>(kLeastPause, 2 * thresholds_.patience);
    shrunk_ = now;
    // Everything must be beyond anew: what was seen so far, the shrink may have ended.
    for (Tracker& tracker : trackers_) tracker.beyond = false;
  }
  trackers_[index].told = now;
  return act;
}

std::uint64_t GuardPolicy::ShrinkBytes(const Act& act, const Readings& readings) const {
  const std::uint64_t share = act.held_bytes / kShrinkShare;
  if (act.signal != v1::GuardAct::AVAILABLE_MEMORY) return share;
  const double clear = thresholds_.clear_available_percent / 100 * static_cast<double>(readings.limit_bytes);
  const double missing = clear - act.value;
  return missing > 0 ? std::min(act.held_bytes, static_cast<std::uint64_t>(missing)) : share;
}

std::optional<Act> GuardPolicy::Warn(const std::array<Measure, kSignals>& measures, const Readings& readings) {
  for (std::size_t i = 0; i < kSignals; ++i) {
    if (measures[i].ratio < kWarnRatio) continue;
    tense_ = tense_ || IsImmediate(i);
    std::optional<nanoseconds>& told = trackers_[i].told;
    if (told && readings.time - *told < kWarnInterval) continue;
    told = readings.time;
    Act act;
    act.action = v1::GuardAct::WARNED;
    act.signal = kOrder[i];
    act.time = readings.time;
    act.value = measures[i].value;
    act.threshold = measures[i].threshold;
    act.limit_bytes = readings.limit_bytes;
    act.held_bytes = *readings.held_bytes;
    return act;
  }
  return std::nullopt;
}

std::optional<Act> GuardPolicy::AfterRelease(const Readings& readings) {
  tense_ = true;
  const std::uint64_t held = *readings.held_bytes;
  // A release goes on as long as it gets on, however slow the device is.
  if (held + kLeastReleased <= release_held_) {
    release_held_ = held;
    release_moved_ = readings.time;
  }
  const bool begun = release_moved_ > release_->time;
  const bool stuck = held >= kLeastHeld && readings.time - release_moved_ >= (begun ? kStuckTime : kReleaseBeginTime);
  if (!stuck && readings.time - release_->time < kReleaseEndTime) return std::nullopt;
  killed_ = true;
  tense_ = false;
  Act act = *release_;
  act.action = v1::GuardAct::KILLED;
  act.time = readings.time;
  act.held_bytes = held;
  return act;
}

}  // namespace ballast::guard
