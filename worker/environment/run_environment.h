// What surrounds one runner: its cgroup, its keeper, and the counts that tell of its end.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/os/cgroup.h"
#include "worker/environment/cgroup_home.h"
#include "worker/environment/limited_group.h"
#include "worker/environment/oom_watch.h"
#include "worker/environment/own_group.h"
#include "worker/environment/runner_keeper.h"

namespace ballast::environment {

// Made before the runner, and outlives it. Destruction kills whatever the runner has left in its cgroup, removes that,
// and dismisses the keeper. Move-only. Not thread-safe.
class RunEnvironment {
 public:
  // The runner stands below `limits`, which outlives it; where that is null, below the agent's place. `home` may be
  // null: then the runner has a process group only. Where a cgroup cannot be made although it should be, the runner
  // goes without, and note() says why; but not out of the limits: that is an error, with the codes of OwnGroup::Create.
  // `root` is where /proc and /sys are found.
  [[nodiscard]] static absl::StatusOr<RunEnvironment> Create(const CgroupHome* home, const LimitedGroup* limits,
                                                             const std::string& root = "/");

  RunEnvironment(RunEnvironment&&) noexcept = default;
  RunEnvironment& operator=(RunEnvironment&&) = delete;

  // Where the runner will stand.
  [[nodiscard]] const os::CgroupLocation& location() const { return location_; }
  // Whether that is a cgroup of its own.
  [[nodiscard]] bool own_group() const { return own_group_; }
  // For ChildOptions.
  [[nodiscard]] std::vector<std::string> cgroups() const;
  // Sees to it that the runner, leader of a process group, ends with this process.
  void Keep(pid_t runner);
  // What is not as it should be; empty where nothing is. One sentence.
  [[nodiscard]] const std::string& note() const { return note_; }
  [[nodiscard]] OomWatch& oom_watch() { return oom_watch_; }
  // Counts from now on, for another runner in the same place. `root` as in Create.
  void WatchAnew(const std::string& root = "/");

 private:
  RunEnvironment() = default;

  // In this order: the keeper goes last.
  RunnerKeeper keeper_;
  OwnGroup group_;
  std::vector<std::string> other_cgroups_;  // of the environment
  OomWatch oom_watch_;
  os::CgroupLocation location_;
  bool own_group_ = false;
  std::string note_;
};

}  // namespace ballast::environment
