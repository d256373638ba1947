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
// machine's, whichever are more. Swapping and refaults are the cgroup's then, so that what others do elsewhere on the
// machine is not taken for the load's; but the machine's while the machine stalls more than the cgroup. Where the
// kernel does not count them for a cgroup they are the machine's. Reading does not allocate. Not thread-safe.
class SignalReader {
 public:
  // `root` is where /proc and /sys are found; `place` where the load stands whose limits count: where this process
  // stands, if it is absent. Stalls are those of this process's own cgroup: of a group that has the load alone, every
  // task stalls as soon as the load does. Codes of os::MemoryGauge::Open; whatever else is missing is left out of
  // the readings.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<SignalReader>> Open(
      const std::string& root, const std::optional<os::CgroupLocation>& place = std::nullopt);

  // Everything but the delay and what the load holds. The counts of pages, the longest files, are read every half
  // second, and each time while tasks stall for `closely_percent` of the time or the kernel does not tell of stalls.
  [[nodiscard]] Readings Read(std::chrono::nanoseconds now, double closely_percent);

  // The files with the kernel's figures of stalls: the machine's and, where it is another, the cgroup's. Empty where
  // there is none.
  [[nodiscard]] const std::string& machine_pressure_path() const { return machine_.path; }
  [[nodiscard]] const std::string& cgroup_pressure_path() const { return cgroup_.path; }

 private:
  struct Stall {
    double full_percent = 0;
    double some_percent = 0;
  };
  struct PressureSource {
    std::string path;
    os::FileReader reader;
    RateWindow full;
    RateWindow some;
  };
  // Pages since a start that does not matter.
  struct PageCounts {
    std::optional<std::uint64_t> swapped_in;
    std::optional<std::uint64_t> refaulted;
  };
  struct PageRates {
    std::optional<double> swap_in_bytes_per_second;
    std::optional<double> refault_bytes_per_second;
  };
  struct PageSource {
    os::FileReader reader;
    RateWindow swapped_in;
    RateWindow refaulted;
  };

  SignalReader() = default;

  void OpenCgroupPages(const std::string& proc, const os::CgroupLocation& location);
  // Nothing where the kernel does not tell, and in the first half second.
  std::optional<Stall> ReadPressure(PressureSource* source, Readings* readings);
  std::optional<PageCounts> ReadMachinePages();
  std::optional<PageCounts> ReadCgroupPages();
  [[nodiscard]] PageRates RatesOf(const PageCounts& counts, std::chrono::nanoseconds time, PageSource* source) const;

  std::unique_ptr<os::MemoryGauge> gauge_;
  PressureSource machine_;
  PressureSource cgroup_;
  PageSource machine_pages_;                             // /proc/vmstat
  PageSource cgroup_pages_;                              // memory.stat of the cgroup whose limit holds
  const os::MemoryCgroupFiles* cgroup_files_ = nullptr;  // of static storage; set where `cgroup_pages_` can be read
  std::chrono::nanoseconds next_pages_{0};
  double page_bytes_ = 0;
  std::array<char, os::kReadBufferBytes> buffer_;
};

}  // namespace ballast::guard
