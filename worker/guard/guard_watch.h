// One look at the device after another, and what follows from each.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "common/base/clock.h"
#include "worker/guard/act.h"
#include "worker/guard/guard_policy.h"
#include "worker/guard/signal_reader.h"
#include "worker/guard/thresholds.h"

namespace ballast::guard {

// What holds the memory. Called from the guard's thread; must not block, and should not allocate: there may be nothing
// left.
class GuardedLoad {
 public:
  virtual ~GuardedLoad() = default;
  // What it holds now, in memory and in swap, seen from outside. Nothing where it is gone.
  [[nodiscard]] virtual std::optional<std::uint64_t> HeldBytes() = 0;
  // Asks it to give bytes back and to allocate nothing for a while.
  virtual void AskToShrink(std::uint64_t bytes, std::chrono::nanoseconds pause) = 0;
  // Asks it to give everything back and to end.
  virtual void AskToRelease() = 0;
  // Ends it and whatever it started, without asking.
  virtual void Kill() = 0;
};

// Who is told. Called from the guard's thread; must not block, and should not allocate.
class GuardListener {
 public:
  virtual ~GuardListener() = default;
  // Just before each act is carried out.
  virtual void OnAct(const Act& act) = 0;
  // The kernel told that every task stalled for `stall` within `window`.
  virtual void OnTrigger(std::chrono::nanoseconds time, std::chrono::microseconds stall,
                         std::chrono::microseconds window) = 0;
};

// Reads, decides, acts. Without a thread of its own. Not thread-safe.
class GuardWatch {
 public:
  // All must outlive the watch but the reader.
  GuardWatch(const Thresholds& thresholds, std::unique_ptr<SignalReader> reader, const base::Clock* clock,
             GuardedLoad* load, GuardListener* listener);

  // One look. `planned` is when it was meant to be. Returns when the next one is due: 20 ms later near a threshold or
  // while something is going on, up to 200 ms later far from all.
  [[nodiscard]] std::chrono::nanoseconds Look(std::chrono::nanoseconds planned);

  [[nodiscard]] const SignalReader& reader() const { return *reader_; }

 private:
  [[nodiscard]] std::chrono::nanoseconds Interval(const Readings& readings);

  const Thresholds thresholds_;
  std::unique_ptr<SignalReader> reader_;
  const base::Clock* const clock_;
  GuardedLoad* const load_;
  GuardListener* const listener_;
  GuardPolicy policy_;
  std::optional<Readings> before_;
};

}  // namespace ballast::guard
