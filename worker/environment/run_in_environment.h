// One command in an environment, in the foreground of this process.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/environment.pb.h"
#include "common/base/child_process.h"
#include "common/limits/environment_refusal.h"
#include "worker/environment/oom_watch.h"

namespace ballast::environment {

// What became of the command.
struct CommandEnd {
  // Where this is set, nothing was started, and nothing below has a meaning.
  std::optional<EnvironmentRefusal> refusal;
  // Why the command could not be started: NOT_FOUND, PERMISSION_DENIED and other codes of ErrnoStatus.
  absl::Status start;
  base::ExitStatus exit;
  // OOM kills while it ran.
  OomCounts oom;
  // What the kernel made of the profile.
  v1::AppliedEnvironment environment;

  // Whether the kernel killed any of its processes at the limit of the environment itself.
  [[nodiscard]] bool oom_killed_at_limit() const;
};

// Runs `argv` (argv[0] is looked for on PATH where it has no slash) with the limits of the profile and waits for its
// end. It has this process's standard streams, terminal, process group and working directory; the latter's disk is the
// one that the profile limits. SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 that come to this process are
// passed on to it, but for those of the terminal, which it gets itself; they are blocked here from the call on. What it
// has started and not ended is killed, and the groups are removed, before this returns, and also where this process is
// killed. Call it from a process without other threads, or from one whose other threads block these signals. `profile`
// has its defaults; `root` is where /proc and /sys are found.
[[nodiscard]] CommandEnd RunInEnvironment(const v1::EnvironmentProfile& profile, const std::vector<std::string>& argv,
                                          const std::string& root = "/");

}  // namespace ballast::environment
