// One act of the guard.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "ballast/v1/run.pb.h"

namespace ballast::guard {

// What was done, and the reading that made it. Holds no memory of its own.
struct Act {
  v1::GuardAct::Action action = v1::GuardAct::ACTION_UNSPECIFIED;
  v1::GuardAct::Signal signal = v1::GuardAct::SIGNAL_UNSPECIFIED;
  std::chrono::nanoseconds time{0};  // of the reading, on the monotonic clock
  double value = 0;                  // the reading, in the unit of the signal
  double threshold = 0;              // in the same unit
  std::uint64_t limit_bytes = 0;
  std::uint64_t held_bytes = 0;       // by the load, at the reading
  std::uint64_t shrink_bytes = 0;     // SHRINK_ASKED: what is to go back
  std::chrono::nanoseconds pause{0};  // SHRINK_ASKED: how long nothing may be allocated then
};

// The reading beside its threshold, in words: `45 MiB available (1.1 % of the limit), less than 102 MiB (2.5 %)`.
[[nodiscard]] std::string DescribeReading(const Act& act);
// What was done, and why, in one sentence.
[[nodiscard]] std::string DescribeAct(const Act& act);

}  // namespace ballast::guard
