#include "worker/guard/guard_watch.h"

#include <algorithm>
#include <utility>

namespace ballast::guard {
namespace {

using std::chrono::nanoseconds;

constexpr std::chrono::milliseconds kShortest(20);
constexpr std::chrono::milliseconds kLongest(200);
// Looks on the way down to a threshold, at the rate at which memory goes now.
constexpr double kLooksOnTheWay = 4;

}  // namespace

GuardWatch::GuardWatch(const Thresholds& thresholds, std::unique_ptr<SignalReader> reader, const base::Clock* clock,
                       GuardedLoad* load, GuardListener* listener)
    : thresholds_(thresholds),
      reader_(std::move(reader)),
      clock_(clock),
      load_(load),
      listener_(listener),
      policy_(thresholds) {}

nanoseconds GuardWatch::Look(nanoseconds planned) {
  Readings readings = reader_->Read(clock_->Monotonic(), thresholds_.stalling_percent / 2);
  readings.held_bytes = load_->HeldBytes();
  // After the reading: where the device is in trouble, that is what takes long.
  readings.time = clock_->Monotonic();
  readings.delay = std::max(readings.time - planned, nanoseconds(0));
  if (const std::optional<Act> act = policy_.Next(readings)) {
    listener_->OnAct(*act);
    switch (act->action) {
      case v1::GuardAct::SHRINK_ASKED:
        load_->AskToShrink(act->shrink_bytes, act->pause);
        break;
      case v1::GuardAct::RELEASE_ASKED:
        load_->AskToRelease();
        break;
      case v1::GuardAct::KILLED:
        load_->Kill();
        break;
      default:
        break;
    }
  }
  const nanoseconds interval = Interval(readings);
  before_ = readings;
  return readings.time + interval;
}

// The nearer the threshold, or the faster memory goes towards it, the sooner.
nanoseconds GuardWatch::Interval(const Readings& readings) {
  if (policy_.tense() || readings.psi_full_percent.value_or(0) >= thresholds_.stalling_percent / 2) return kShortest;
  if (!readings.available_bytes) return kLongest;
  const auto available = static_cast<double>(*readings.available_bytes);
  const double threshold = thresholds_.min_available_percent / 100 * static_cast<double>(readings.limit_bytes);
  double interval = static_cast<double>(nanoseconds(kLongest).count());
  if (threshold > 0) {
    interval = std::min(interval, static_cast<double>(nanoseconds(kShortest).count()) * (available / threshold - 1));
  }
  if (before_ && before_->available_bytes && *before_->available_bytes > *readings.available_bytes) {
    const auto taken = static_cast<double>(*before_->available_bytes - *readings.available_bytes);
    const auto span = static_cast<double>((readings.time - before_->time).count());
    interval = std::min(interval, std::max(available - threshold, 0.0) / taken * span / kLooksOnTheWay);
  }
  return std::clamp<nanoseconds>(nanoseconds(static_cast<std::int64_t>(interval)), kShortest, kLongest);
}

}  // namespace ballast::guard
