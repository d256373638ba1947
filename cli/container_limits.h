// The limits of a container as the kernel has them, and whether these are the profile's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"

namespace ballast::cli {

// What the kernel says of a container's cgroup.
struct ContainerReading {
  int cgroup_version = 0;                     // 1 or 2
  std::string directory;                      // of the cgroup with the memory controller
  std::optional<std::uint64_t> memory_bytes;  // the tightest limit up to the root; nothing where there is none
  // Most swap beside the memory, in the same way; nothing where there is no limit, or none that can be read.
  std::optional<std::uint64_t> swap_bytes;
  bool swap_limited = false;             // whether there is a file that could limit swap
  std::uint64_t machine_swap_bytes = 0;  // what could be swapped to
  std::optional<double> cpus;            // nothing where there is no limit
  std::vector<std::string> readings;     // `FILE: VALUE`, for people
};

// Reads the limits of the container whose first process, as this machine names it, is `pid`. NOT_FOUND where that is no
// process of the container: it has ended, or the engine runs on another machine. `root` is where /proc and /sys are
// found.
[[nodiscard]] absl::StatusOr<ContainerReading> ReadContainerLimits(pid_t pid, const std::string& container_id,
                                                                   const std::string& root = "/");

// FAILED_PRECONDITION, with the file and the value, where a limit is not the profile's: discarded, rounded away or
// tighter somewhere above.
[[nodiscard]] absl::Status CheckLimits(const v1::EnvironmentProfile& profile, const ContainerReading& reading);

// FAILED_PRECONDITION where this machine has not the swap that the profile wants. `root` is where /proc is found.
[[nodiscard]] absl::Status CheckSwapOfMachine(const v1::EnvironmentProfile& profile, const std::string& root = "/");

// Number of OOM kills that the content of `memory.events` (or version 1's `memory.oom_control`) tells of.
[[nodiscard]] std::uint64_t ParseOomKills(std::string_view content);

}  // namespace ballast::cli
