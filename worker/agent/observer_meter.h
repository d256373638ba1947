// What the agent itself takes from the device.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "ballast/v1/run.pb.h"

namespace ballast::agent {

// Measures this process from its construction on. Stateless beyond that; not thread-safe.
class ObserverMeter {
 public:
  // `root` is where /proc is found.
  explicit ObserverMeter(std::string root = "/");

  // The cost so far. Reads /proc/self/smaps_rollup, which takes well below a millisecond.
  [[nodiscard]] v1::ObserverCost Cost() const;

 private:
  struct Usage {
    std::chrono::nanoseconds cpu_time{0};
    std::uint64_t minor_faults = 0;
    std::uint64_t major_faults = 0;
    std::uint64_t written_bytes = 0;
  };
  [[nodiscard]] Usage Read() const;

  const std::string process_;  // /proc/self
  const Usage start_;
};

}  // namespace ballast::agent
