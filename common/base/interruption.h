// Waits that a person can end.
#pragma once

#include <chrono>

namespace ballast::base {

// Whether somebody wants what goes on to end. An interrupt is pending until it is acknowledged, and ends every wait at
// once.
class Interruption {
 public:
  virtual ~Interruption() = default;

  [[nodiscard]] virtual bool pending() const = 0;
  // Takes note of what is pending: the next wait goes on.
  virtual void Acknowledge() = 0;
  // Waits until `fd` is readable (true), or `timeout` has passed or an interrupt is pending (false).
  [[nodiscard]] virtual bool WaitReadable(int fd, std::chrono::milliseconds timeout) = 0;
};

// Nobody does.
class NoInterruption final : public Interruption {
 public:
  [[nodiscard]] bool pending() const override { return false; }
  void Acknowledge() override {}
  [[nodiscard]] bool WaitReadable(int fd, std::chrono::milliseconds timeout) override;
};

}  // namespace ballast::base
