// Reads what the guard watches.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "common/os/memory_gauge.h"
#include "worker/guard/guard_policy.h"
#include "worker/guard/rate_window.h"

namespace ballast::guard {

// Keeps the files open and turns counters into rates. Where a cgroup's limit holds, its own stalls count as well as the
// machine's, whichever are more; swapping and refaults are the machine's. Reading does not allocate. Not thread-safe.
class SignalReader {
 public:
  // `root` is where /proc and /sys are found; `place` where the load stands whose limits count: where this process
  // stands, if it is absent. Stalls are those of this process's own cgroup: of a group that has the load alone, every
  // task stalls as soon as the load does. Codes of os::MemoryGauge::Open; whatever else is missing is left out of
  // the readings.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<SignalReader>> Open(
      const std::string& root, const std::optional<os::CgroupLocation>& place = std::nullopt);

  // Everything but the delay and what the load holds. /proc/vmstat, the longest file, is read every half second, and
  // each time while tasks stall for `closely_percent` of the time or the kernel does not tell of stalls.
  [[nodiscard]] Readings Read(std::chrono::nanoseconds now, double closely_percent);

  // The files with the kernel's figures of stalls: the machine's and, where it is another, the cgroup's. Empty where
  // there is none.
  [[nodiscard]] const std::string& machine_pressure_path() const { return machine_.path; }
  [[nodiscard]] const std::string& cgroup_pressure_path() const { return cgroup_.path; }

 private:
  struct PressureSource {
    std::string path;
    os::FileReader reader;
    RateWindow full;
    RateWindow some;
  };

  SignalReader() = default;

  void ReadPressure(PressureSource* source, Readings* readings);
  void ReadRates(Readings* readings);

  std::unique_ptr<os::MemoryGauge> gauge_;
  PressureSource machine_;
  PressureSource cgroup_;
  os::FileReader vmstat_;
  RateWindow swap_in_;
  RateWindow refault_;
  std::chrono::nanoseconds next_vmstat_{0};
  double page_bytes_ = 4096;
  std::array<char, os::kReadBufferBytes> buffer_;
};

}  // namespace ballast::guard
