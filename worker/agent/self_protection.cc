#include "worker/agent/self_protection.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "common/base/file.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

constexpr int kObserverNice = -10;
constexpr unsigned kCapIpcLock = 14;

id_t ThreadId() {
  return static_cast<id_t>(::syscall(SYS_gettid));
}

absl::Status LowerOomScore() {
  absl::StatusOr<base::Fd> fd = base::OpenFile("/proc/self/oom_score_adj", O_WRONLY);
  if (!fd.ok()) return fd.status();
  return base::WriteAll(fd->get(), "-1000");
}

// Whether memory may be locked without a limit. With a limited allowance an allocation would fail once it is used up,
// which is worse than being swapped out.
bool MayLockAnyAmount() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) return true;
  const absl::StatusOr<std::string> status = base::ReadFile("/proc/self/status", 1U << 20U);
  if (!status.ok()) return false;
  return ((os::ParseProcessStatus(*status).effective_capabilities.value_or(0) >> kCapIpcLock) & 1U) != 0;
}

}  // namespace

SelfProtection ProtectSelf() {
  SelfProtection protection;
  protection.oom_score_lowered = LowerOomScore().ok();
  if (MayLockAnyAmount() && ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) {
    protection.memory_locked = true;
  } else {
    protection.limitations.push_back(
        "The agent's pages may be swapped out under pressure: locking them needs CAP_IPC_LOCK or an unlimited "
        "RLIMIT_MEMLOCK.");
  }
  return protection;
}

ScopedPriority::ScopedPriority() {
  errno = 0;
  before_ = ::getpriority(PRIO_PROCESS, ThreadId());
  if (errno != 0) return;
  raised_ = before_ > kObserverNice && ::setpriority(PRIO_PROCESS, ThreadId(), kObserverNice) == 0;
}

ScopedPriority::~ScopedPriority() {
  if (raised_) ::setpriority(PRIO_PROCESS, ThreadId(), before_);
}

}  // namespace ballast::agent
