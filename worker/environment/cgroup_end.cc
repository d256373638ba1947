#include "worker/environment/cgroup_end.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace ballast::environment {
namespace {

constexpr int kMaxDepth = 16;  // what a runner makes of its own is rarely deeper than one or two
// The kernel tells of an empty cgroup in one version only, so both are asked.
constexpr long kPauseNs = 2'000'000;

std::chrono::nanoseconds MonotonicNow() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Version 2, kernels from 5.14 on: all at once, also what is just being forked.
bool KillAtOnce(int directory) {
  const int fd = ::openat(directory, "cgroup.kill", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool killed = ::write(fd, "1", 1) == 1;
  ::close(fd);
  return killed;
}

void KillListed(int directory) {
  const int fd = ::openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::array<char, 4096> buffer;
  pid_t pid = 0;
  ssize_t n = 0;
  while ((n = ::read(fd, buffer.data(), buffer.size())) > 0) {
    for (ssize_t i = 0; i < n; ++i) {
      const char c = buffer[static_cast<std::size_t>(i)];
      if (c >= '0' && c <= '9') {
        pid = pid * 10 + (c - '0');
        continue;
      }
      // 0 stands for a process that this pid namespace does not show; to kill() it would mean the own group.
      if (pid > 0) ::kill(pid, SIGKILL);
      pid = 0;
    }
  }
  ::close(fd);
}

// As the kernel fills it in; the library has no function that is safe here.
struct DirectoryEntry {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t size;
  std::uint8_t type;
  char name[1];
};

void KillAndRemove(int parent, const char* name, int depth);

// Kills all in the cgroups below and removes them, as far as that is done by now.
void EndChildren(int directory, int depth) {
  if (depth == 0) return;
  alignas(DirectoryEntry) std::array<char, 2048> buffer;
  long n = 0;
  while ((n = ::syscall(SYS_getdents64, directory, buffer.data(), buffer.size())) > 0) {
    for (long i = 0; i < n;) {
      const auto* const entry = reinterpret_cast<const DirectoryEntry*>(buffer.data() + i);
      i += entry->size;
      if (entry->type == DT_DIR && entry->name[0] != '.') KillAndRemove(directory, entry->name, depth - 1);
    }
  }
}

void KillAndRemove(int parent, const char* name, int depth) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  if (!KillAtOnce(fd)) KillListed(fd);
  EndChildren(fd, depth);
  ::close(fd);
  ::unlinkat(parent, name, AT_REMOVEDIR);
}

}  // namespace

bool EndCgroup(const char* directory, std::chrono::milliseconds timeout) {
  const std::chrono::nanoseconds deadline = MonotonicNow() + timeout;
  while (true) {
    if (::rmdir(directory) == 0 || errno == ENOENT) return true;
    if (errno != EBUSY) return false;
    const int fd = ::open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
      if (!KillAtOnce(fd)) KillListed(fd);
      EndChildren(fd, kMaxDepth);
      ::close(fd);
    }
    if (MonotonicNow() >= deadline) return false;
    const timespec pause{.tv_sec = 0, .tv_nsec = kPauseNs};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace ballast::environment
