// The limits of a container as the kernel has them, and whether these are the profile's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/run.pb.h"
#include "common/environment/container.h"
#include "common/limits/environment_refusal.h"
#include "common/os/cgroup.h"

namespace ballast::containers {

// Where the process of a container stands.
struct ContainerPlace {
  pid_t pid = 0;
  std::string container_id;
  // Its memory cgroup, which may be below the one that the engine gave the limits.
  os::CgroupLocation location;
};

// Finds the cgroup of the container whose first process, as this machine names it, is `pid`. NOT_FOUND where that is no
// process of the container: it has ended, or the engine runs on another machine. FAILED_PRECONDITION on a kernel
// without memory cgroups. `root` is where /proc and /sys are found.
[[nodiscard]] absl::StatusOr<ContainerPlace> LocateContainer(pid_t pid, const std::string& container_id,
                                                             const std::string& root = "/");

// What of the machine is in the way, before there is a container: its memory and its swap.
[[nodiscard]] std::optional<environment::EnvironmentRefusal> CheckMachine(const v1::EnvironmentProfile& profile,
                                                                          const std::string& root = "/");

// Reads every limit back that the profile has and the engine has a flag for (profiles::LimitsOf), from the container's
// cgroups up to the root. What is in the way: a limit was discarded, rounded away, or is tighter somewhere above; swap
// is not what the profile wants. `applied` gets what was read, also where something is in the way.
[[nodiscard]] std::optional<environment::EnvironmentRefusal> CheckContainer(const v1::EnvironmentProfile& profile,
                                                                            const profiles::ContainerHost& host,
                                                                            const ContainerPlace& place,
                                                                            const std::string& root,
                                                                            v1::AppliedEnvironment* applied);

// Number of OOM kills that the content of `memory.events` (or version 1's `memory.oom_control`) tells of.
[[nodiscard]] std::uint64_t ParseOomKills(std::string_view content);

}  // namespace ballast::containers
