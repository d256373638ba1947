// The group that makes what is in it live on a smaller machine.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "common/limits/environment_refusal.h"
#include "common/limits/limits.h"
#include "common/os/cgroup.h"
#include "worker/environment/cgroup_home.h"
#include "worker/environment/own_group.h"
#include "worker/environment/runner_keeper.h"

namespace ballast::environment {

struct LimitedGroupOptions {
  // Where /proc and /sys are found.
  std::string root = "/";
  // The disk that holds this directory is the one whose traffic a profile limits.
  std::filesystem::path disk_directory = ".";
};

// A cgroup `ballast-env-…` with the limits of an environment profile, in each hierarchy that takes part:
//
//   version 2   one group, below the agent's place;
//   version 1   one group in the hierarchy of the memory controller, one in those of cpu and blkio where the profile
//   limits
//               them, and, where version 2 is mounted beside them, one there for the group's own pressure stall
//               information.
//
// Destruction kills whatever is in them and removes them. A keeper of its own does that where this process is killed.
// Move-only. Not thread-safe.
class LimitedGroup {
 public:
  // Makes the groups, sets the limits, reads them back up to the root, and drops the page cache where the profile wants
  // it cold. What is in the way where the machine cannot be made so; nothing is left behind then. `home` may be null:
  // there is no place for groups then. It outlives the group. The profile has its defaults.
  [[nodiscard]] static std::optional<EnvironmentRefusal> Make(CgroupHome* home, const v1::EnvironmentProfile& profile,
                                                              const LimitedGroupOptions& options, LimitedGroup* group);

  // Without any group.
  LimitedGroup() = default;
  LimitedGroup(LimitedGroup&&) noexcept = default;
  LimitedGroup& operator=(LimitedGroup&& other) noexcept;

  // Where a process in the group stands; and, of groups made below it, the parent.
  [[nodiscard]] const os::CgroupLocation& location() const { return memory_.location(); }
  // The groups of the other hierarchies, which whatever runs in the environment enters as well.
  [[nodiscard]] const std::vector<std::string>& other_directories() const { return other_directories_; }
  // What was read back.
  [[nodiscard]] const v1::AppliedEnvironment& applied() const { return applied_; }

  // A cgroup below it for one run, as CgroupHome::MakeRunGroup. From then on version 2 allows no process in the group
  // itself.
  [[nodiscard]] absl::StatusOr<OwnGroup> MakeRunGroup() const;

 private:
  class Maker;

  // In this order: the keeper goes last, and the group of the memory controller first, with all processes.
  RunnerKeeper keeper_;
  std::vector<OwnGroup> others_;
  OwnGroup memory_;
  std::vector<std::string> other_directories_;
  v1::AppliedEnvironment applied_;
};

}  // namespace ballast::environment
