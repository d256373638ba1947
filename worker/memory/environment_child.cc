#include "worker/memory/environment_child.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

#include "common/base/child_process.h"
#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "worker/environment/run_in_environment.h"

namespace ballast::memory {
namespace {

constexpr int kChannel = 3;
constexpr int kExitDone = 0;
constexpr int kExitUsage = 2;

// Everything up to the end of the stream. Codes of ErrnoStatus.
absl::StatusOr<std::string> ReadAll(int fd) {
  std::string content;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return base::ErrnoStatus(errno, "read the environment's channel");
    if (count == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

// The end of the command, as every run's end is told.
v1::RunResult ResultOf(const environment::CommandEnd& end, const std::string& program) {
  v1::RunResult result;
  v1::Outcome* const outcome = result.mutable_outcome();
  if (end.refusal) {
    outcome->set_kind(v1::ENVIRONMENT_REFUSED);
    outcome->set_message(end.refusal->ToText());
    return result;
  }
  *result.mutable_environment() = end.environment;
  if (!end.start.ok()) {
    outcome->set_kind(v1::INVALID);
    outcome->set_message(std::string(end.start.message()));
    return result;
  }
  outcome->mutable_evidence()->set_exit_code(end.exit.exit_code);
  outcome->mutable_evidence()->set_signal(end.exit.signal);
  outcome->mutable_evidence()->set_cgroup_oom_kill_count(end.oom.kills.value_or(0));
  if (end.oom_killed_at_limit() && (end.exit.signal != 0 || end.exit.exit_code != 0)) {
    outcome->set_kind(v1::OOM_KILLED);
    outcome->mutable_evidence()->set_killer(v1::KERNEL_MEMCG_OOM);
    outcome->set_message(fmt::format("the kernel killed {} at the environment's memory limit", program));
  } else if (end.exit.signal != 0) {
    outcome->set_kind(v1::COMMAND_FAILED);
    outcome->set_message(fmt::format("{} was ended by signal {}", program, end.exit.signal));
  } else if (end.exit.exit_code != 0) {
    outcome->set_kind(v1::COMMAND_FAILED);
    outcome->set_message(fmt::format("{} exited with {}", program, end.exit.exit_code));
  } else {
    outcome->set_kind(v1::COMPLETED);
    outcome->set_message(fmt::format("{} exited with 0", program));
  }
  return result;
}

}  // namespace

absl::StatusOr<v1::RunResult> RunInChild(const std::filesystem::path& runner, const v1::EnvironmentProfile& profile,
                                         const std::vector<std::string>& argv) {
  if (argv.empty()) return absl::InvalidArgumentError("there is no command to run");
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return base::ErrnoStatus(errno, "make the environment's channel");
  }
  const base::Fd channel(ends[0]);
  base::Fd child_end(ends[1]);
  base::ChildOptions options;
  options.argv = {runner.string(), kEnvironmentChildFlag};
  options.argv.insert(options.argv.end(), argv.begin(), argv.end());
  options.passed_fds = {{.from = child_end.get(), .to = kChannel}};
  options.own_process_group = false;
  // This thread waits below, so it lives as long.
  options.parent_death_signal = SIGKILL;
  BALLAST_ASSIGN_OR_RETURN(base::ChildProcess child, base::ChildProcess::Start(options));
  child_end.Reset();
  BALLAST_RETURN_IF_ERROR(base::WriteAll(channel.get(), profile.SerializeAsString()));
  ::shutdown(channel.get(), SHUT_WR);
  BALLAST_ASSIGN_OR_RETURN(const std::string content, ReadAll(channel.get()));
  const std::optional<base::ExitStatus> exit = child.Wait();
  v1::RunResult result;
  if (!result.ParseFromString(content) || !result.has_outcome()) {
    return absl::UnavailableError(fmt::format("{} ended without a result (exit code {}, signal {})", runner.string(),
                                              exit ? exit->exit_code : -1, exit ? exit->signal : 0));
  }
  return result;
}

int EnvironmentChildMain(const std::vector<std::string>& argv) {
  const base::Fd channel(kChannel);
  const absl::StatusOr<std::string> content = ReadAll(kChannel);
  v1::EnvironmentProfile profile;
  if (!content.ok() || !profile.ParseFromString(*content) || argv.empty()) {
    fmt::print(stderr,
               "error: {} needs a command, and a profile on descriptor 3\n  try: ballast env run NAME -- CMD, or a "
               "program with the library\n",
               kEnvironmentChildFlag);
    return kExitUsage;
  }
  ::fcntl(kChannel, F_SETFD, FD_CLOEXEC);
  const v1::RunResult result = ResultOf(environment::RunInEnvironment(profile, argv), argv.front());
  return base::WriteAll(kChannel, result.SerializeAsString()).ok() ? kExitDone : kExitUsage;
}

}  // namespace ballast::memory
