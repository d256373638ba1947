// Whether the processors run at full speed: frequency, governor and thermal throttling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/os/file_reader.h"

namespace ballast::os {

// Keeps the files open that say so; what a device does not have is absent. Reading does not allocate. Move-only. Not
// thread-safe.
class ProcessorSpeed {
 public:
  // `root` is where /sys is found.
  explicit ProcessorSpeed(const std::string& root = "/");

  // The governor of the processors' frequency (`performance`, `powersave`, …) when this was opened; of several the
  // first that is not `performance`. Empty where the device has none.
  [[nodiscard]] const std::string& governor() const { return governor_; }

  // How often the processors were throttled because of heat since boot: the sum of
  // /sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count (x86). Nothing where there are no such counts.
  [[nodiscard]] std::optional<std::uint64_t> ReadThrottleCount(std::span<char> buffer);

  // Whether some thermal zone is at or above the trip point where the kernel begins to slow processors down (passive).
  // Nothing where no zone has such a point.
  [[nodiscard]] std::optional<bool> ReadTooHot(std::span<char> buffer);

  // Frequency of one processor in percent of its highest; of another processor each time, because x86 kernels before
  // 5.18 take up to 20 ms to find it out. Nothing where it cannot be read.
  [[nodiscard]] std::optional<double> ReadFrequencyPercent(std::span<char> buffer);

 private:
  struct Zone {
    FileReader temperature;
    std::int64_t trip_millidegrees = 0;
  };
  struct Frequency {
    FileReader current;
    double highest_khz = 0;
  };

  void OpenProcessors(const std::string& directory);
  void OpenZones(const std::string& directory);

  std::string governor_;
  std::vector<FileReader> throttle_counts_;
  std::vector<Zone> zones_;
  std::vector<Frequency> frequencies_;
  std::size_t next_frequency_ = 0;
};

}  // namespace ballast::os
