// Ctrl+C and SIGTERM, turned into calls and into something that waits can end on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/fd.h"
#include "common/base/interruption.h"
#include "common/base/shutdown_signal.h"

namespace ballast::cli {

// Collects interrupts and tells whoever registered. An interrupt is pending until somebody acknowledges it; pending
// ones end every wait and every call at once. Thread-safe.
class Interrupts final : public base::Interruption {
 public:
  // Listens to `signal` on a thread of its own; with null, only Raise() interrupts. `signal` must outlive this.
  explicit Interrupts(const base::ShutdownSignal* signal);
  ~Interrupts() override;
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Whether one has arrived that nobody has acknowledged.
  [[nodiscard]] bool pending() const override;

  // Takes note of what is pending: the next wait or call goes on.
  void Acknowledge() override;

  // Waits; true as soon as an interrupt is pending, false after `duration`.
  [[nodiscard]] bool WaitFor(std::chrono::milliseconds duration);

  // Waits until `fd` is readable (true), or `timeout` has passed or an interrupt is pending (false).
  [[nodiscard]] bool WaitReadable(int fd, std::chrono::milliseconds timeout) override;

  // One interrupt, as if a signal had arrived.
  void Raise();

  // Calls `handler` for every interrupt while the scope lives, and at once where one is pending already. Handlers run
  // on another thread, must not block or use this object, and never run after the scope is gone.
  class Scope {
   public:
    Scope(Interrupts& interrupts, std::function<void()> handler);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupts& interrupts_;
    std::function<void()> handler_;
  };

 private:
  void Listen(const base::ShutdownSignal& signal);

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  bool pending_ = false;
  std::vector<const std::function<void()>*> handlers_;
  base::Fd pending_fd_;  // an eventfd: readable while an interrupt is pending
  base::Fd stop_fd_;
  std::jthread thread_;
};

}  // namespace ballast::cli
