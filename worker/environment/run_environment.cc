#include "worker/environment/run_environment.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace ballast::environment {

absl::StatusOr<RunEnvironment> RunEnvironment::Create(const CgroupHome* home, const LimitedGroup* limits,
                                                      const std::string& root) {
  RunEnvironment environment;
  if (limits != nullptr || (home != nullptr && home->isolation() != v1::PROCESS_GROUP)) {
    absl::StatusOr<OwnGroup> group = limits != nullptr ? limits->MakeRunGroup() : home->MakeRunGroup();
    if (group.ok()) {
      environment.group_ = *std::move(group);
      environment.location_ = environment.group_.location();
      environment.own_group_ = true;
      if (limits != nullptr) environment.other_cgroups_ = limits->other_directories();
    } else if (limits != nullptr) {
      return base::WithContext(group.status(), "the runner's cgroup in the environment");
    } else {
      environment.note_ =
          fmt::format("the runner had no cgroup of its own in this run: {}", std::string(group.status().message()));
      base::Log().warn("{}", environment.note_);
    }
  }
  if (!environment.own_group_) {
    // A machine whose cgroups cannot be found out has none that matter.
    absl::StatusOr<os::CgroupLocation> located = os::LocateCgroups(root);
    if (located.ok()) environment.location_ = *std::move(located);
  }
  environment.oom_watch_ = OomWatch::Open(environment.location_, root);
  return environment;
}

void RunEnvironment::WatchAnew(const std::string& root) {
  oom_watch_ = OomWatch::Open(location_, root);
}

std::vector<std::string> RunEnvironment::cgroups() const {
  if (!own_group_) return {};
  std::vector<std::string> cgroups = {group_.directory()};
  cgroups.insert(cgroups.end(), other_cgroups_.begin(), other_cgroups_.end());
  return cgroups;
}

void RunEnvironment::Keep(pid_t runner) {
  absl::StatusOr<RunnerKeeper> keeper = RunnerKeeper::Start(runner, own_group_ ? group_.directory() : std::string());
  if (keeper.ok()) {
    keeper_ = *std::move(keeper);
    return;
  }
  if (note_.empty()) {
    note_ = fmt::format("only the kernel's parent-death signal ends the runner with its agent: {}",
                        std::string(keeper.status().message()));
  }
  base::Log().warn("{}", note_);
}

}  // namespace ballast::environment
