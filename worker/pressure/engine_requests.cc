#include "worker/pressure/engine_requests.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace ballast::pressure {

void EngineRequests::Post(const ShrinkRequest& request) {
  const std::scoped_lock lock(mutex_);
  if (waiting_) {
    const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - waiting_->bytes;
    waiting_->bytes += std::min(room, request.bytes);
    waiting_->pause = std::max(waiting_->pause, request.pause);
  } else {
    waiting_ = request;
  }
  interruption_.request_stop();
}

void EngineRequests::Interrupt() {
  const std::scoped_lock lock(mutex_);
  interrupted_ = true;
  interruption_.request_stop();
}

void EngineRequests::EndHold() {
  const std::scoped_lock lock(mutex_);
  hold_ended_ = true;
  interruption_.request_stop();
}

bool EngineRequests::hold_ended() const {
  const std::scoped_lock lock(mutex_);
  return hold_ended_;
}

void EngineRequests::Retarget(double target_percent) {
  const std::scoped_lock lock(mutex_);
  target_percent_ = target_percent;
}

std::optional<double> EngineRequests::target_percent() const {
  const std::scoped_lock lock(mutex_);
  return target_percent_;
}

std::optional<ShrinkRequest> EngineRequests::Take() {
  const std::scoped_lock lock(mutex_);
  if (!interrupted_ && interruption_.stop_requested()) interruption_ = std::stop_source();
  return std::exchange(waiting_, std::nullopt);
}

std::stop_token EngineRequests::Interruption() {
  const std::scoped_lock lock(mutex_);
  return interruption_.get_token();
}

}  // namespace ballast::pressure
