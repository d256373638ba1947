// Time and waiting, as one seam: in tests a simulated machine's time passes when it is waited for.
#pragma once

#include <chrono>
#include <stop_token>

namespace ballast::pressure {

// Tells the time and waits. Not thread-safe.
class Pacer {
 public:
  virtual ~Pacer() = default;
  // CLOCK_MONOTONIC.
  [[nodiscard]] virtual std::chrono::nanoseconds Now() = 0;
  // Returns at `deadline`, at once where it has passed. False when `stop` came first, or had come before.
  [[nodiscard]] virtual bool WaitUntil(std::chrono::nanoseconds deadline, const std::stop_token& stop) = 0;
};

// The machine's own time.
class MachinePacer final : public Pacer {
 public:
  [[nodiscard]] std::chrono::nanoseconds Now() override;
  [[nodiscard]] bool WaitUntil(std::chrono::nanoseconds deadline, const std::stop_token& stop) override;
};

}  // namespace ballast::pressure
