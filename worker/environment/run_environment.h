// What surrounds one runner: its cgroup, its keeper, and the counts that tell of its end.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/os/cgroup.h"
#include "worker/environment/cgroup_home.h"
#include "worker/environment/oom_watch.h"
#include "worker/environment/own_group.h"
#include "worker/environment/runner_keeper.h"

namespace ballast::environment {

// Made before the runner, and outlives it. Destruction kills whatever the runner has left in its cgroup, removes that,
// and dismisses the keeper. Move-only. Not thread-safe.
class RunEnvironment {
 public:
  // `home` may be null: then the runner has a process group only. Where a cgroup cannot be made although it should be,
  // the runner goes without, and note() says why. `root` is where /proc and /sys are found.
  [[nodiscard]] static RunEnvironment Create(const CgroupHome* home, const std::string& root = "/");

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
  // Readable when somebody has killed the keeper of the runner: for poll(); -1 where there is none.
  [[nodiscard]] int keeper_fd() const { return keeper_.fd(); }
  // Replaces a keeper that somebody has killed; note() says so. Not without end: whoever kills each one wants none.
  // Call while the runner lives, when keeper_fd() is readable.
  void FollowKeeper();
  // What is not as it should be; empty where nothing is. Clauses of one sentence.
  [[nodiscard]] const std::string& note() const { return note_; }
  [[nodiscard]] OomWatch& oom_watch() { return oom_watch_; }
  // Counts from now on, for another runner in the same place. `root` as in Create.
  void WatchAnew(const std::string& root = "/");

 private:
  RunEnvironment() = default;

  void AddNote(const std::string& note);

  // In this order: the keeper goes last.
  RunnerKeeper keeper_;
  OwnGroup group_;
  OomWatch oom_watch_;
  os::CgroupLocation location_;
  bool own_group_ = false;
  pid_t kept_ = 0;  // the runner
  int replaced_keepers_ = 0;
  std::string note_;
};

}  // namespace ballast::environment
