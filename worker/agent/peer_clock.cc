#include "worker/agent/peer_clock.h"

#include <algorithm>

namespace ballast::agent {
namespace {

// What two cheap oscillators may drift apart, in millionths.
constexpr std::int64_t kDriftPpm = 200;

}  // namespace

std::chrono::nanoseconds PeerClock::Reading::ErrorAt(std::chrono::nanoseconds monotonic) const {
  return error + std::max(monotonic - time, std::chrono::nanoseconds(0)) / 1'000'000 * kDriftPpm;
}

void PeerClock::BeginSession() {
  const std::scoped_lock lock(mutex_);
  outdated_ = true;
}

void PeerClock::Add(std::chrono::nanoseconds asked, std::chrono::nanoseconds answered, base::SystemTime reading) {
  if (answered < asked) return;
  const std::chrono::nanoseconds error = (answered - asked) / 2;
  const Reading fresh{reading.time_since_epoch() - (asked + error), error, answered};
  const std::scoped_lock lock(mutex_);
  if (best_ && !outdated_) {
    const std::chrono::nanoseconds old_error = best_->ErrorAt(answered);
    // Where the two cannot both be true, one of the clocks was set, and the newer is.
    const bool contradicts = std::chrono::abs(fresh.ahead - best_->ahead) > fresh.error + old_error;
    if (fresh.error > old_error && !contradicts) return;
  }
  best_ = fresh;
  outdated_ = false;
}

std::optional<v1::ClockOffset> PeerClock::OffsetAt(base::SystemTime wall, std::chrono::nanoseconds monotonic) const {
  const std::scoped_lock lock(mutex_);
  if (!best_) return std::nullopt;
  v1::ClockOffset offset;
  *offset.mutable_offset() = base::ToProto(best_->ahead + monotonic - wall.time_since_epoch());
  *offset.mutable_error() = base::ToProto(best_->ErrorAt(monotonic));
  *offset.mutable_age() = base::ToProto(std::max(monotonic - best_->time, std::chrono::nanoseconds(0)));
  return offset;
}

}  // namespace ballast::agent
