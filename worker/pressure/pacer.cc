#include "worker/pressure/pacer.h"

#include <condition_variable>
#include <mutex>

#include "common/base/clock.h"

namespace ballast::pressure {

std::chrono::nanoseconds MachinePacer::Now() {
  return base::RealClock().Monotonic();
}

bool MachinePacer::WaitUntil(std::chrono::nanoseconds deadline, const std::stop_token& stop) {
  // On Linux the steady clock is CLOCK_MONOTONIC. Nobody notifies: only the stop token or the deadline ends the wait.
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, stop, std::chrono::steady_clock::time_point(deadline), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace ballast::pressure
