#include "worker/environment/runner_keeper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "worker/environment/cgroup_end.h"

namespace ballast::environment {
namespace {

// Nobody waits for it, and a device that thrashes is slow.
constexpr std::chrono::minutes kEndTimeout(5);
constexpr char kReady = 'r';
constexpr char kDone = 'd';
constexpr char kCgroup = 'c';
constexpr char kLeaf = 'l';
constexpr char kTakeBack = 't';
constexpr std::size_t kMaxCgroups = 8;
constexpr std::size_t kMaxPath = 2048;
constexpr int kLockTries = 1000;
constexpr long kLockPauseNs = 2'000'000;
constexpr rlim_t kMostDescriptors = 65536;

// All but descriptor 0.
void CloseDescriptors() {
  if (::syscall(SYS_close_range, 1U, ~0U, 0U) == 0) return;
  rlimit limit{};  // kernels before 5.9
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = kMostDescriptors;
  for (rlim_t fd = 1; fd < std::min(limit.rlim_cur, kMostDescriptors); ++fd) ::close(static_cast<int>(fd));
}

// What the keeper is to do, in memory of its own.
struct Duties {
  std::array<std::array<char, kMaxPath>, kMaxCgroups> cgroups;
  std::size_t cgroup_count;
  std::array<char, kMaxPath> leaf;
  std::array<char, kMaxPath> take_back;
};

// What follows a word, up to its end. False where the owner is gone in the middle of it, or it is too long.
bool ReadText(std::array<char, kMaxPath>* text) {
  std::size_t size = 0;
  while (size < text->size()) {
    char byte = 0;
    const ssize_t n = ::read(0, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    (*text)[size++] = byte;
    if (byte == '\0') return true;
  }
  text->front() = '\0';
  return false;
}

// False when the owner is gone, true when it needs no keeper any more.
bool ListenToOwner(Duties* duties) {
  while (true) {
    char word = 0;
    const ssize_t n = ::read(0, &word, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    if (word == kDone) return true;
    if (word == kCgroup && duties->cgroup_count < kMaxCgroups) {
      if (ReadText(&duties->cgroups[duties->cgroup_count])) ++duties->cgroup_count;
    } else if (word == kLeaf) {
      (void)ReadText(&duties->leaf);
    } else if (word == kTakeBack) {
      (void)ReadText(&duties->take_back);
    }
  }
}

// Ends it unless somebody lives who has locked it. The owner's own lock goes a moment after its end of the channel.
void EndUnlocked(const char* cgroup) {
  for (int i = 0; i < kLockTries; ++i) {
    const int fd = ::open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
      EndCgroup(cgroup, kEndTimeout);
      ::close(fd);
      return;
    }
    ::close(fd);
    const timespec pause{.tv_sec = 0, .tv_nsec = kLockPauseNs};
    ::nanosleep(&pause, nullptr);
  }
}

// Writes `text` to `file` in `directory`.
void WriteIn(int directory, const char* file, const char* text) {
  const int fd = ::openat(directory, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(fd, text, std::strlen(text));
  ::close(fd);
}

void Leave(std::array<char, kMaxPath>* leaf, const char* take_back) {
  char* const slash = std::strrchr(leaf->data(), '/');
  if (slash == nullptr) return;
  *slash = '\0';
  const int parent = ::open(leaf->data(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  if (take_back[0] != '\0') WriteIn(parent, "cgroup.subtree_control", take_back);
  WriteIn(parent, "cgroup.procs", "0");
  ::unlinkat(parent, slash + 1, AT_REMOVEDIR);
  ::close(parent);
}

// Runs in the child of a process with threads, where only async-signal-safe calls are allowed.
[[noreturn]] void Keep(int channel, pid_t runner, const char* cgroup) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ballast-keeper");
  ::dup2(channel, 0);
  CloseDescriptors();
  [[maybe_unused]] const ssize_t told = ::send(0, &kReady, 1, MSG_NOSIGNAL);
  Duties duties;
  duties.cgroup_count = 0;
  duties.leaf.front() = '\0';
  duties.take_back.front() = '\0';
  if (ListenToOwner(&duties)) ::_exit(0);
  if (runner > 0) ::kill(-runner, SIGKILL);
  if (cgroup[0] != '\0') EndCgroup(cgroup, kEndTimeout);
  for (std::size_t i = 0; i < duties.cgroup_count; ++i) EndUnlocked(duties.cgroups[i].data());
  if (duties.leaf.front() != '\0') Leave(&duties.leaf, duties.take_back.data());
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
    : pid_(std::exchange(other.pid_, 0)), channel_(std::move(other.channel_)), told_(other.told_) {}

RunnerKeeper& RunnerKeeper::operator=(RunnerKeeper&& other) noexcept {
  if (this != &other) {
    Dismiss();
    pid_ = std::exchange(other.pid_, 0);
    channel_ = std::move(other.channel_);
    told_ = other.told_;
  }
  return *this;
}

RunnerKeeper::~RunnerKeeper() {
  Dismiss();
}

absl::Status RunnerKeeper::Tell(char word, const std::string& text) {
  if (text.size() >= kMaxPath) return absl::OutOfRangeError(fmt::format("{} is too long a path", text));
  std::string message(1, word);
  message += text;
  message.push_back('\0');
  if (::send(channel_.get(), message.data(), message.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(message.size()))
    return absl::OkStatus();
  return base::ErrnoStatus(errno, "tell the keeper what it is to end");
}

absl::Status RunnerKeeper::Watch(const std::string& cgroup) {
  if (told_ == kMaxCgroups) return absl::ResourceExhaustedError("a keeper ends at most eight cgroups");
  ++told_;
  return Tell(kCgroup, cgroup);
}

absl::Status RunnerKeeper::LeaveAfterwards(const std::string& leaf, const std::string& take_back) {
  BALLAST_RETURN_IF_ERROR(Tell(kTakeBack, take_back));
  return Tell(kLeaf, leaf);
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
