// What the guard does next: pure, without a clock, a thread or a file.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "worker/guard/act.h"
#include "worker/guard/thresholds.h"

namespace ballast::guard {

// The device at one instant.
struct Readings {
  std::chrono::nanoseconds time{0};  // monotonic
  // Of the tightest of machine and cgroup. Absent where it could not be read.
  std::optional<std::uint64_t> available_bytes;
  std::uint64_t limit_bytes = 0;
  // Swap that the load could still take.
  std::uint64_t free_swap_bytes = 0;
  // Shares of the last second in which every task, and at least one task, stalled on memory, in percent. Absent where
  // the kernel does not tell, and in the first half second.
  bool has_psi = false;
  std::optional<double> psi_full_percent;
  std::optional<double> psi_some_percent;
  // Over the last second; absent as above.
  std::optional<double> swap_in_bytes_per_second;
  std::optional<double> refault_bytes_per_second;
  // By how much this reading is later than it was meant to be.
  std::chrono::nanoseconds delay{0};
  // What the load holds, in memory and in swap. Absent where the load is gone.
  std::optional<std::uint64_t> held_bytes;
};

// The ladder: warn, ask the load to become smaller, ask it to release everything, kill it.
//
// A signal is *beyond* from the reading that crosses its threshold until one that is clear of it by 15 %. Available
// memory and the delay act at once, stalls and rates when they were beyond for `patience`. Rates count while every task
// stalls for `stalling_percent` of the time, the delay while some task stalls for a quarter of it; where the kernel
// tells of no stalls they count always.
//
//   WARNED         at three quarters of a threshold, at most once in 10 s a signal
//   SHRINK_ASKED   beyond, where there was no shrink in the last minute; stalls and rates count again a second later
//   RELEASE_ASKED  beyond within a minute after a shrink, but for half a second's grace; or severe: less than a quarter
//                  of the available memory there should be, twice the stall, three times the delay
//   KILLED         where the release has not begun 0.3 s after it was asked for, does not get on for a second (a MiB
//   counts),
//                  or is not over after five seconds
//
// A load that cannot be ended (Thresholds::can_end) is asked to shrink at most every five seconds, and nothing more.
// A load that holds next to nothing (less than 16 MiB or a hundredth of the limit) is left alone: its end would not
// help. Does not allocate. Not thread-safe.
class GuardPolicy {
 public:
  explicit GuardPolicy(const Thresholds& thresholds) : thresholds_(thresholds) {}

  // The next act, to be carried out at once; nothing where there is none. Call for each reading, in order of time.
  [[nodiscard]] std::optional<Act> Next(const Readings& readings);

  // Whether the situation may need another act within the next moments: look again soon.
  [[nodiscard]] bool tense() const { return tense_; }

 private:
  static constexpr std::size_t kSignals = 5;

  // One signal of one reading.
  struct Measure {
    double value = 0;
    double threshold = 0;
    double ratio = 0;  // 1 at the threshold, more beyond it
    bool severe = false;
  };
  struct Tracker {
    bool beyond = false;
    std::chrono::nanoseconds since{0};
    std::optional<std::chrono::nanoseconds> told;  // the last act for this signal
  };

  [[nodiscard]] std::array<Measure, kSignals> MeasureAll(const Readings& readings) const;
  void Track(const std::array<Measure, kSignals>& measures, const Readings& readings);
  // The signal that has to be acted on, if any; severe ones first.
  [[nodiscard]] std::optional<std::size_t> Due(const std::array<Measure, kSignals>& measures,
                                               std::chrono::nanoseconds now) const;
  [[nodiscard]] std::optional<Act> ActOn(std::size_t index, const Measure& measure, const Readings& readings);
  [[nodiscard]] std::optional<Act> Warn(const std::array<Measure, kSignals>& measures, const Readings& readings);
  [[nodiscard]] std::optional<Act> AfterRelease(const Readings& readings);
  [[nodiscard]] std::uint64_t ShrinkBytes(const Act& act, const Readings& readings) const;

  Thresholds thresholds_;
  std::array<Tracker, kSignals> trackers_;
  std::optional<std::chrono::nanoseconds> shrunk_;
  std::optional<Act> release_;
  std::uint64_t release_held_ = 0;  // the least that the load has held since
  std::chrono::nanoseconds release_moved_{0};
  bool killed_ = false;
  bool tense_ = false;
};

}  // namespace ballast::guard
