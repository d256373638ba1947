#include "worker/environment/run_in_environment.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/program.h"
#include "common/base/status.h"
#include "worker/environment/cgroup_home.h"
#include "worker/environment/limited_group.h"

namespace ballast::environment {
namespace {

constexpr std::array kPassedOn = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

// A descriptor of the signals, which are blocked from now on.
base::Fd TakeSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kPassedOn) sigaddset(&set, number);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return base::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// A terminal sends its signals to all of the process group, so the child has them.
bool CameFromTerminal(const signalfd_siginfo& info) {
  return info.ssi_code == SI_KERNEL;
}

base::ExitStatus WaitFor(base::ChildProcess* child, int signals) {
  while (true) {
    if (const auto exit = child->TryWait()) return *exit;
    std::array<pollfd, 2> polled = {{{child->pid_fd(), POLLIN, 0}, {signals, POLLIN, 0}}};
    ::poll(polled.data(), polled.size(), -1);
    signalfd_siginfo info{};
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (!CameFromTerminal(info)) child->Signal(static_cast<int>(info.ssi_signo));
    }
  }
}

}  // namespace

bool CommandEnd::oom_killed_at_limit() const {
  return oom.kills.value_or(0) > 0 && oom.limit_hits > 0 && oom.limit_cgroup == environment.cgroup();
}

CommandEnd RunInEnvironment(const v1::EnvironmentProfile& profile, const std::vector<std::string>& argv,
                            const std::string& root) {
  CommandEnd end;
  end.start = argv.empty() ? absl::InvalidArgumentError("no command") : base::FindProgram(argv.front());
  if (!end.start.ok()) return end;
  // First: from here on a signal must not end this process before the group is gone.
  const base::Fd signals = TakeSignals();
  const std::unique_ptr<CgroupHome> home = CgroupHome::Prepare(root, CgroupHome::Purpose::kCommand);
  LimitedGroup group;
  end.refusal = LimitedGroup::Make(home.get(), profile, {.root = root, .disk_directory = "."}, &group);
  if (end.refusal) return end;
  end.environment = group.applied();
  OomWatch oom_watch = OomWatch::Open(group.location(), root);
  base::ChildOptions options;
  options.argv = argv;
  options.own_process_group = false;
  options.parent_death_signal = SIGKILL;
  options.cgroups = group.other_directories();
  options.cgroups.insert(options.cgroups.begin(), group.location().memory_directories.front());
  absl::StatusOr<base::ChildProcess> child = base::ChildProcess::Start(options);
  if (!child.ok()) {
    const std::string reason(child.status().message());
    // The program is there and may be run, so this is about the group.
    if (reason.find(": enter ") != std::string::npos) {
      end.refusal = {.cause = fmt::format("the environment '{}' cannot be entered: {}", profile.name(), reason),
                     .place = options.cgroups.front(),
                     .next_step = "run it as root, or in a cgroup that is delegated to its user"};
    } else {
      end.start = child.status();
    }
    return end;
  }
  end.exit = WaitFor(&*child, signals.get());
  end.oom = oom_watch.SinceStart();
  return end;
}

}  // namespace ballast::environment
