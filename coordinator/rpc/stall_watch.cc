#include "coordinator/rpc/stall_watch.h"

#include <algorithm>
#include <utility>

namespace ballast::coordinator {

StallWatch::StallWatch(std::chrono::nanoseconds patience)
    : patience_(patience), thread_([this](const std::stop_token& stop) { Run(stop); }) {}

StallWatch::~StallWatch() {
  thread_.request_stop();
  thread_.join();
}

StallWatch::Call StallWatch::Watch(std::function<void()> end) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t id = next_id_++;
  calls_.emplace(id, Entry{Clock::now(), std::move(end)});
  if (calls_.size() == 1) changed_.notify_all();
  return {this, id};
}

StallWatch::Call::~Call() {
  const std::lock_guard lock(watch_->mutex_);
  watch_->calls_.erase(id_);
}

void StallWatch::Call::Moved() {
  const std::lock_guard lock(watch_->mutex_);
  watch_->calls_.at(id_).moved = Clock::now();
}

bool StallWatch::Call::ended() const {
  const std::lock_guard lock(watch_->mutex_);
  return watch_->calls_.at(id_).ended;
}

void StallWatch::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !calls_.empty(); })) {
    const Clock::time_point now = Clock::now();
    // Who moves or comes meanwhile is due later than whoever is due first now.
    Clock::time_point next = now + std::chrono::duration_cast<Clock::duration>(patience_);
    for (auto& [id, call] : calls_) {
      if (call.ended) continue;
      if (now - call.moved >= patience_) {
        call.ended = true;
        call.end();
      } else {
        next = std::min(next, call.moved + std::chrono::duration_cast<Clock::duration>(patience_));
      }
    }
    changed_.wait_until(lock, stop, next, [] { return false; });
  }
}

}  // namespace ballast::coordinator
