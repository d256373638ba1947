#include "worker/environment/runner_keeper.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "common/base/status.h"
#include "worker/environment/cgroup_end.h"

namespace ballast::environment {
namespace {

// Nobody waits for it, and a device that thrashes is slow.
constexpr std::chrono::minutes kEndTimeout(5);
constexpr char kReady = 'r';
constexpr char kDone = 'd';
constexpr rlim_t kMostDescriptors = 65536;

// All but descriptor 0.
void CloseDescriptors() {
  if (::syscall(SYS_close_range, 1U, ~0U, 0U) == 0) return;
  rlimit limit{};  // kernels before 5.9
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = kMostDescriptors;
  for (rlim_t fd = 1; fd < std::min(limit.rlim_cur, kMostDescriptors); ++fd) ::close(static_cast<int>(fd));
}

// Runs in the child of a process with threads, where only async-signal-safe calls are allowed.
[[noreturn]] void Keep(int channel, pid_t runner, const char* cgroup) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ballast-keeper");
  ::dup2(channel, 0);
  CloseDescriptors();
  [[maybe_unused]] const ssize_t told = ::send(0, &kReady, 1, MSG_NOSIGNAL);
  char word = 0;
  ssize_t n = 0;
  do {
    n = ::read(0, &word, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1 && word == kDone) ::_exit(0);
  ::kill(-runner, SIGKILL);
  if (cgroup[0] != '\0') EndCgroup(cgroup, kEndTimeout);
  ::_exit(0);
}

}  // namespace

absl::StatusOr<RunnerKeeper> RunnerKeeper::Start(pid_t runner, const std::string& cgroup) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return base::ErrnoStatus(errno, "make the channel of the runner's keeper");
  base::Fd far(ends[0]);
  RunnerKeeper keeper;
  keeper.channel_.Reset(ends[1]);
  // Blocked before the fork: between fork and any call of its own the child has the handlers of the agent.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) Keep(far.get(), runner, cgroup.c_str());
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return base::ErrnoStatus(error, "fork the runner's keeper");
  keeper.pid_ = pid;
  far.Reset();
  char word = 0;
  ssize_t n = 0;
  do {
    n = ::read(keeper.channel_.get(), &word, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) return absl::UnavailableError("the runner's keeper ended at once; somebody killed it");
  return keeper;
}

RunnerKeeper::RunnerKeeper(RunnerKeeper&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), channel_(std::move(other.channel_)) {}

RunnerKeeper& RunnerKeeper::operator=(RunnerKeeper&& other) noexcept {
  if (this != &other) {
    Dismiss();
    pid_ = std::exchange(other.pid_, 0);
    channel_ = std::move(other.channel_);
  }
  return *this;
}

RunnerKeeper::~RunnerKeeper() {
  Dismiss();
}

bool RunnerKeeper::killed() const {
  // It says nothing more once it is ready: what is there to read is the end of its channel.
  pollfd end = {channel_.get(), POLLIN, 0};
  return pid_ > 0 && ::poll(&end, 1, 0) > 0;
}

void RunnerKeeper::Dismiss() {
  if (pid_ <= 0) return;
  // A keeper that somebody has killed hears nothing and is reaped all the same.
  [[maybe_unused]] const ssize_t ignored = ::send(channel_.get(), &kDone, 1, MSG_NOSIGNAL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  channel_.Reset();
}

}  // namespace ballast::environment
