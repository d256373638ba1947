#include "coordinator/rpc/reading_gate.h"

namespace ballast::coordinator {

bool ReadingGate::Enter() {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  ++inside_;
  return true;
}

void ReadingGate::Leave() {
  // Under the lock, so that the gate is still there while whoever waits is woken.
  const std::lock_guard lock(mutex_);
  --inside_;
  changed_.notify_all();
}

void ReadingGate::Close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.wait(lock, [this] { return inside_ == 0; });
}

}  // namespace ballast::coordinator
