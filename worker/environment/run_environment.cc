#include "worker/environment/run_environment.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace ballast::environment {
namespace {

constexpr int kMostReplacedKeepers = 5;

}  // namespace

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
      environment.AddNote(
          fmt::format("the runner had no cgroup of its own in this run: {}", std::string(group.status().message())));
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
  kept_ = runner;
  absl::StatusOr<RunnerKeeper> keeper = RunnerKeeper::Start(runner, own_group_ ? group_.directory() : std::string());
  if (keeper.ok()) {
    keeper_ = *std::move(keeper);
    return;
  }
  keeper_ = RunnerKeeper();
  AddNote(fmt::format("only the kernel's parent-death signal ends the runner with its agent: {}",
                      std::string(keeper.status().message())));
}

void RunEnvironment::FollowKeeper() {
  if (!keeper_.killed()) return;
  const pid_t killed = keeper_.pid();
  if (replaced_keepers_ == kMostReplacedKeepers) {
    keeper_ = RunnerKeeper();
    AddNote(fmt::format(
        "only the kernel's parent-death signal ends the runner with its agent: its keeper was killed {} times",
        replaced_keepers_ + 1));
    return;
  }
  ++replaced_keepers_;
  AddNote(fmt::format("the runner's keeper (process {}) was killed in mid-run and replaced", killed));
  Keep(kept_);
}

void RunEnvironment::AddNote(const std::string& note) {
  base::Log().warn("{}", note);
  note_ += note_.empty() ? note : "; " + note;
}

}  // namespace ballast::environment
