// What may be said to an engine while it works: give some memory back, go to another target, and end a hold.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

namespace ballast::pressure {

// Give this much back at once, and allocate nothing for a while after that.
struct ShrinkRequest {
  std::uint64_t bytes = 0;  // more than is held means all
  std::chrono::nanoseconds pause{0};
};

// Carries requests from any thread to the one that moves memory. Thread-safe.
class EngineRequests {
 public:
  // Interrupts what the engine does. Requests that were not taken yet are added up, with the longer of the pauses.
  void Post(const ShrinkRequest& request);

  // Interrupts without a request, for good: the run is to end.
  void Interrupt();

  // Interrupts: a hold that lasts until told is over, now or as soon as it is reached.
  void EndHold();
  [[nodiscard]] bool hold_ended() const;

  // Another target for a burst, in percent of the limit. Nothing is interrupted: targets are looked at all the time.
  void Retarget(double target_percent);
  // The last of these; nothing before there is one.
  [[nodiscard]] std::optional<double> target_percent() const;

  // What was posted since the last time, once.
  [[nodiscard]] std::optional<ShrinkRequest> Take();

  // Requested as soon as something is posted, or Interrupt() or EndHold() was called. Good until the next Take().
  [[nodiscard]] std::stop_token Interruption();

 private:
  mutable std::mutex mutex_;
  std::optional<ShrinkRequest> waiting_;
  bool interrupted_ = false;
  bool hold_ended_ = false;
  std::optional<double> target_percent_;
  std::stop_source interruption_;
};

}  // namespace ballast::pressure
