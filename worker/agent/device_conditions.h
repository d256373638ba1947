// The circumstances of a run that no metric has: clocks, heat, frequency, and what the agent and the kernel work for
// it.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/os/file_reader.h"
#include "common/os/processor_speed.h"

namespace ballast::agent {

// One reading.
struct ConditionsReading {
  // The three clocks at one instant: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME (which goes on in suspend).
  std::chrono::nanoseconds realtime{0};
  std::chrono::nanoseconds monotonic{0};
  std::chrono::nanoseconds boottime{0};
  // Processor time so far of this process, of its children that have ended and were waited for, and of the kernel's
  // threads that reclaim and compact memory (none where they cannot be seen from this pid namespace).
  std::chrono::nanoseconds agent_cpu{0};
  std::chrono::nanoseconds children_cpu{0};
  std::chrono::nanoseconds reclaim_cpu{0};
  // As os::ProcessorSpeed says.
  std::optional<std::uint64_t> throttle_count;
  std::optional<bool> too_hot;
  std::optional<double> frequency_percent;
};

// Reads them; files stay open. Not thread-safe.
class DeviceConditions {
 public:
  // Looks through the processes once. `root` is where /proc and /sys are found.
  explicit DeviceConditions(const std::string& root = "/");

  // Userspace OOM daemons that run, and the frequency governor (empty: none), when this was opened.
  [[nodiscard]] const std::vector<std::string>& oom_daemons() const { return oom_daemons_; }
  [[nodiscard]] const std::string& governor() const { return speed_.governor(); }

  // Does not allocate. Meant for once a second: on some x86 kernels it takes up to 20 ms.
  [[nodiscard]] ConditionsReading Read();

 private:
  std::vector<std::string> oom_daemons_;
  std::vector<os::FileReader> reclaim_threads_;
  os::ProcessorSpeed speed_;
  std::array<char, os::kReadBufferBytes> buffer_{};
};

}  // namespace ballast::agent
