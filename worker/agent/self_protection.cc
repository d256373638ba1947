#include "worker/agent/self_protection.h"

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/file.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

constexpr int kObserverNice = -10;
constexpr unsigned kCapIpcLock = 14;
// More than the deepest of the agent's calls (a chunk's encoding, a log message) has been seen to need.
constexpr std::size_t kStackBytes = 128U << 10U;
constexpr std::size_t kTouchBytes = 4096;  // no page is smaller

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

// For dl_iterate_phdr. Nothing is lost: what cannot be written is the same in the file.
int LetGoOfReadOnlyPages(dl_phdr_info* object, std::size_t /*size*/, void* /*unused*/) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    // Whole pages inside the segment: the ones at its ends may be shared with a neighbour that can be written.
    const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr + page - 1) / page * page;
    const std::uintptr_t end = (object->dlpi_addr + segment.p_vaddr + segment.p_filesz) / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

SelfProtection ProtectSelf() {
  SelfProtection protection;
  protection.oom_score_lowered = LowerOomScore().ok();
  protection.may_lock_memory = MayLockAnyAmount();
  if (!protection.may_lock_memory) {
    protection.limitations.push_back(
        "The agent's pages may be swapped out under pressure: locking them needs CAP_IPC_LOCK or an unlimited "
        "RLIMIT_MEMLOCK.");
  }
  return protection;
}

bool LockMemory(const SelfProtection& protection) {
  ::dl_iterate_phdr(&LetGoOfReadOnlyPages, nullptr);
  return protection.may_lock_memory && ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

// Not inlined: the frame is what it is for.
[[gnu::noinline]] void PrefaultStack() {
  std::array<volatile char, kStackBytes> frame;
  for (std::size_t i = 0; i < frame.size(); i += kTouchBytes) frame[i] = 0;
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
