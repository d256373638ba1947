// Ends a runner and whatever it started when the agent dies.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::environment {

// A small process (`ballast-keeper`) that waits for the end of the agent. The kernel's parent-death signal ends the
// runner alone; the keeper ends its process group and its cgroup too, and removes the cgroup. It is forked without an
// exec, so it has the agent's oom_score_adj, and shares its pages. It knows the agent's end by a socket whose other end
// only the agent has: the kernel closes that however the agent ends. Signals but SIGKILL do not touch it, and it is in
// a session of its own, so that neither an interrupt from a terminal nor the SIGTERM of a service manager takes it down
// before the agent. Destruction dismisses and reaps it. Move-only. Not thread-safe.
class RunnerKeeper {
 public:
  // Watches over the process group `runner`, unless it is 0, and, where it is not empty, the cgroup in the directory
  // `cgroup`. Call when the runner exists. Returns when the keeper is ready. Codes of ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<RunnerKeeper> Start(pid_t runner, const std::string& cgroup);

  // Adds a cgroup that is to end as well; it need not exist yet. One that a living process has locked (OwnGroup) is
  // spared: it is somebody else's then. RESOURCE_EXHAUSTED from the ninth on; codes of ErrnoStatus.
  [[nodiscard]] absl::Status Watch(const std::string& cgroup);
  // The cgroup `leaf` of version 2, in which keeper and owner are, is to go as well: the keeper then writes `take_back`
  // to the subtree_control of the cgroup above it, moves there itself, and removes the leaf.
  [[nodiscard]] absl::Status LeaveAfterwards(const std::string& leaf, const std::string& take_back);

  RunnerKeeper() = default;
  RunnerKeeper(RunnerKeeper&& other) noexcept;
  RunnerKeeper& operator=(RunnerKeeper&& other) noexcept;
  RunnerKeeper(const RunnerKeeper&) = delete;
  RunnerKeeper& operator=(const RunnerKeeper&) = delete;
  ~RunnerKeeper();

  // 0 where there is none.
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  void Dismiss();
  // A word, and the text that belongs to it.
  [[nodiscard]] absl::Status Tell(char word, const std::string& text);

  pid_t pid_ = 0;
  base::Fd channel_;
  std::size_t told_ = 0;  // cgroups
};

}  // namespace ballast::environment
