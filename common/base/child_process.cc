#include "common/base/child_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::base {
namespace {

constexpr std::size_t kMaxPassedFds = 16;
constexpr std::int64_t kMaxPollMs = 3'600'000;  // longer waits go round again
constexpr int kLastResetSignal = 31;            // real-time signals have no handlers here

// What the child tells of a start that failed.
struct StartFailure {
  int error = 0;    // errno
  int cgroup = -1;  // index of the cgroup that could not be entered
};

// How the child gets into its cgroups. Moving a process waits for the kernel to be sure of all its threads, which takes
// many milliseconds; a child that is born into a cgroup (version 2), or moves its only thread (version 1), does not
// wait.
struct CgroupEntry {
  std::vector<std::string> files;  // one a cgroup: into which the child writes 0, which is itself
  Fd birthplace;                   // the one into which it may be born
  std::size_t birthplace_index = 0;
  bool born_there = false;
};

absl::StatusOr<CgroupEntry> PrepareEntry(const ChildOptions& options) {
  CgroupEntry entry;
  for (const std::string& directory : options.cgroups) {
    const std::string tasks = directory + "/tasks";
    if (::access(tasks.c_str(), F_OK) == 0) {
      entry.files.push_back(tasks);
      continue;
    }
    entry.birthplace.Reset(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!entry.birthplace.valid()) {
      return ErrnoStatus(errno, fmt::format("start {}: enter {}", options.argv[0], directory));
    }
    entry.birthplace_index = entry.files.size();
    entry.files.push_back(directory + "/cgroup.procs");
  }
  return entry;
}

// As fork().
pid_t ForkInto(CgroupEntry* entry) {
  if (entry->birthplace.valid()) {
    clone_args arguments{};
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = SIGCHLD;
    arguments.cgroup = static_cast<unsigned>(entry->birthplace.get());
    entry->born_there = true;
    const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
    if (pid >= 0) return pid;
    // Kernels before 5.7, or a filter of system calls; what is refused for another reason is refused to the child as
    // well.
    entry->born_there = false;
  }
  return ::fork();
}

bool EnterCgroup(const char* file) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t written = ::write(fd, "0", 1);
  const int error = errno;
  ::close(fd);
  errno = error;
  return written == 1;
}

// Runs in the child between fork and exec, where only async-signal-safe calls are allowed: no allocation, no locks.
[[noreturn]] void RunChild(char* const* argv, const ChildOptions& options, const CgroupEntry& entry,
                           const char* oom_score_adj, pid_t parent, int error_fd, int fd_floor) {
  const auto fail = [error_fd](int cgroup = -1) {
    const StartFailure failure{.error = errno, .cgroup = cgroup};
    [[maybe_unused]] const ssize_t ignored = ::write(error_fd, &failure, sizeof failure);
    ::_exit(127);
  };
  if (options.own_process_group && ::setpgid(0, 0) != 0) fail();
  if (options.parent_death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, options.parent_death_signal) != 0) fail();
    if (::getppid() != parent) ::_exit(127);  // the parent died before prctl
  }
  for (int number = 1; number <= kLastResetSignal; ++number) ::signal(number, SIG_DFL);
  sigset_t empty;
  sigemptyset(&empty);
  ::sigprocmask(SIG_SETMASK, &empty, nullptr);
  if (oom_score_adj != nullptr) {
    const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
      [[maybe_unused]] const ssize_t ignored = ::write(fd, oom_score_adj, std::strlen(oom_score_adj));
      ::close(fd);
    }
  }
  for (std::size_t i = 0; i < entry.files.size(); ++i) {
    if (entry.born_there && i == entry.birthplace_index) continue;
    if (!EnterCgroup(entry.files[i].c_str())) fail(static_cast<int>(i));
  }
  // First out of the way of every target number, then onto it, so that no pair can overwrite another's source.
  std::array<int, kMaxPassedFds> moved{};
  const std::size_t count = options.passed_fds.size();
  for (std::size_t i = 0; i < count; ++i) {
    moved[i] = ::fcntl(options.passed_fds[i].from, F_DUPFD_CLOEXEC, fd_floor);
    if (moved[i] < 0) fail();
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (::dup2(moved[i], options.passed_fds[i].to) < 0) fail();
  }
  if (!options.working_directory.empty() && ::chdir(options.working_directory.c_str()) != 0) fail();
  ::execvp(argv[0], argv);
  fail();
  ::_exit(127);
}

ExitStatus Decode(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.exit_code = info.si_status, .signal = 0};
  return {.exit_code = 0, .signal = info.si_status};
}

}  // namespace

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      own_group_(other.own_group_),
      pid_fd_(std::move(other.pid_fd_)),
      exit_(std::exchange(other.exit_, std::nullopt)),
      usage_(std::exchange(other.usage_, std::nullopt)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    KillAndReap();
    pid_ = std::exchange(other.pid_, 0);
    own_group_ = other.own_group_;
    pid_fd_ = std::move(other.pid_fd_);
    exit_ = std::exchange(other.exit_, std::nullopt);
    usage_ = std::exchange(other.usage_, std::nullopt);
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  KillAndReap();
}

absl::StatusOr<ChildProcess> ChildProcess::Start(const ChildOptions& options) {
  if (options.argv.empty()) return absl::InvalidArgumentError("no program to start");
  if (options.passed_fds.size() > kMaxPassedFds) return absl::InvalidArgumentError("too many descriptors to pass");
  std::vector<char*> argv;
  argv.reserve(options.argv.size() + 1);
  for (const std::string& argument : options.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::string oom_score_adj = options.oom_score_adj ? fmt::format("{}", *options.oom_score_adj) : std::string();

  std::array<int, 2> pipe_fds{};
  if (::pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  Fd error_reader(pipe_fds[0]);
  Fd error_writer(pipe_fds[1]);
  int fd_floor = std::max(error_writer.get(), 2) + 1;
  for (const auto& passed : options.passed_fds) fd_floor = std::max(fd_floor, passed.to + 1);
  // The error pipe must not sit on a number that a passed descriptor takes.
  Fd error_high(::fcntl(error_writer.get(), F_DUPFD_CLOEXEC, fd_floor));
  if (!error_high.valid()) return ErrnoStatus(errno, "fcntl F_DUPFD_CLOEXEC");
  error_writer.Reset();

  const pid_t parent = ::getpid();
  BALLAST_ASSIGN_OR_RETURN(CgroupEntry entry, PrepareEntry(options));
  const pid_t pid = ForkInto(&entry);
  if (pid < 0) return ErrnoStatus(errno, fmt::format("fork for {}", options.argv[0]));
  if (pid == 0) {
    RunChild(argv.data(), options, entry, options.oom_score_adj ? oom_score_adj.c_str() : nullptr, parent,
             error_high.get(), fd_floor);
  }
  error_high.Reset();

  ChildProcess child;
  child.pid_ = pid;
  child.own_group_ = options.own_process_group;
  // Also from this side, so that Signal() finds the group even before the child has run.
  if (options.own_process_group) ::setpgid(pid, pid);
  child.pid_fd_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!child.pid_fd_.valid()) {
    const int error = errno;
    // Nothing to poll on, so not left to the destructor.
    child.Signal(SIGKILL);
    ::waitpid(pid, nullptr, 0);
    child.pid_ = 0;
    return ErrnoStatus(error, fmt::format("pidfd_open for {}", options.argv[0]));
  }

  StartFailure failure;
  ssize_t n = 0;
  do {
    n = ::read(error_reader.get(), &failure, sizeof failure);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(sizeof failure)) return child;
  if (failure.cgroup < 0) return ErrnoStatus(failure.error, fmt::format("start {}", options.argv[0]));
  return ErrnoStatus(failure.error, fmt::format("start {}: enter {}", options.argv[0],
                                                options.cgroups[static_cast<std::size_t>(failure.cgroup)]));
}

void ChildProcess::Signal(int signal_number) const {
  if (!running()) return;
  ::kill(own_group_ ? -pid_ : pid_, signal_number);
}

std::optional<ExitStatus> ChildProcess::TryWait() {
  return Wait(std::chrono::milliseconds(0));
}

std::optional<ExitStatus> ChildProcess::Wait(std::chrono::milliseconds timeout) {
  if (exit_.has_value() || pid_ <= 0) return exit_;
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    siginfo_t info{};
    // WNOWAIT first: while the zombie stands, its process group cannot be reused, so what it left behind can be killed
    // safely.
    const int result = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (result != 0 && errno == ECHILD) {
      exit_ = ExitStatus{.exit_code = -1, .signal = 0};
      return exit_;
    }
    if (result == 0 && info.si_pid == pid_) {
      if (own_group_) ::kill(-pid_, SIGKILL);
      ::wait4(pid_, nullptr, 0, &usage_.emplace());
      exit_ = Decode(info);
      return exit_;
    }
    int wait_ms = -1;
    if (timeout.count() >= 0) {
      const auto left =
          timeout - std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
      if (left.count() <= 0) return std::nullopt;
      wait_ms = static_cast<int>(std::min<std::int64_t>(left.count(), kMaxPollMs));
    }
    pollfd poll_fd{pid_fd_.get(), POLLIN, 0};
    ::poll(&poll_fd, 1, wait_ms);
  }
}

void ChildProcess::KillAndReap() {
  if (running()) {
    Signal(SIGKILL);
    [[maybe_unused]] const auto status = Wait();
  }
  pid_ = 0;
  exit_.reset();
  usage_.reset();
  pid_fd_.Reset();
}

}  // namespace ballast::base
