// A device of files, a clock that stands still, and a load that does as it is told: what production reads, watches and
// acts on, laid out by the test.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "tests/unit/common/os/fake_tree.h"
#include "worker/guard/guard_watch.h"

namespace ballast::guard {

// A machine's /proc under a temporary root.
class FakeProc {
 public:
  FakeProc() {
    SetAvailableMib(2000);
    SetStalls(0, 0);
    SetPages(0, 0);
  }
  [[nodiscard]] std::string root() const { return tree_.root(); }
  [[nodiscard]] const os::FakeTree& tree() const { return tree_; }

  void SetAvailableMib(std::uint64_t mib) {
    // Of one length, so that a reader never sees an end of what was there before.
    tree_.Write("proc/meminfo", fmt::format("MemTotal:  {:10} kB\nMemAvailable: {:10} kB\n", 4000 * 1024, mib * 1024));
  }
  void SetStalls(std::uint64_t some_us, std::uint64_t full_us) {
    tree_.Write("proc/pressure/memory", fmt::format("some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
                                                    "full avg10=0.00 avg60=0.00 avg300=0.00 total={}\n",
                                                    some_us, full_us));
  }
  void SetPages(std::uint64_t swapped_in, std::uint64_t refaulted) {
    tree_.Write("proc/vmstat", fmt::format("pswpin {}\nworkingset_refault_anon 0\nworkingset_refault_file {}\n",
                                           swapped_in, refaulted));
  }

 private:
  os::FakeTree tree_;
};

class FakeClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::SystemTime(now); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return now; }
  std::chrono::nanoseconds now = std::chrono::seconds(1000);
};

// Records what is asked of it. Thread-safe.
class FakeLoad final : public GuardedLoad, public GuardListener {
 public:
  std::optional<std::uint64_t> HeldBytes() override {
    const std::scoped_lock lock(mutex_);
    return held_;
  }
  void AskToShrink(std::uint64_t bytes, std::chrono::nanoseconds /*pause*/) override {
    Tell(fmt::format("shrink {}", bytes >> 20U));
  }
  void AskToRelease() override { Tell("release"); }
  void Kill() override { Tell("kill"); }
  void OnAct(const Act& act) override {
    const std::scoped_lock lock(mutex_);
    acts_.push_back(act);
    changed_.notify_all();
  }
  void OnTrigger(std::chrono::nanoseconds /*time*/, std::chrono::microseconds /*stall*/,
                 std::chrono::microseconds /*window*/) override {
    Tell("trigger");
  }

  void SetHeld(std::optional<std::uint64_t> held) {
    const std::scoped_lock lock(mutex_);
    held_ = held;
  }
  [[nodiscard]] std::vector<std::string> told() const {
    const std::scoped_lock lock(mutex_);
    return told_;
  }
  [[nodiscard]] std::vector<Act> acts() const {
    const std::scoped_lock lock(mutex_);
    return acts_;
  }
  // Waits until so many acts were done.
  bool WaitForActs(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return acts_.size() >= count; });
  }

 private:
  void Tell(std::string what) {
    const std::scoped_lock lock(mutex_);
    told_.push_back(std::move(what));
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::uint64_t> held_ = std::uint64_t{1500} << 20U;
  std::vector<std::string> told_;
  std::vector<Act> acts_;
};

}  // namespace ballast::guard
