#include "worker/model/mapped_file_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "common/base/status.h"

namespace ballast::model {
namespace {

// A handler knows nothing but what is in the whole process.
std::atomic<bool> g_in_use{false};
std::atomic<std::uintptr_t> g_begin{0};
std::atomic<std::uintptr_t> g_end{0};
std::atomic<std::uintptr_t> g_page_bytes{4096};
std::atomic<bool> g_failed{false};
struct sigaction g_before {};

void OnBusError(int signal, siginfo_t* info, void* /*context*/) {
  const int error = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (address >= g_begin.load() && address < g_end.load()) {
    const std::uintptr_t page_bytes = g_page_bytes.load();
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the page that was touched
    void* const page = reinterpret_cast<void*>(address / page_bytes * page_bytes);
    g_failed.store(true);
    if (::mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
      errno = error;
      return;
    }
  }
  // The same touch again, with the end that it would have had.
  ::signal(signal, SIG_DFL);
  errno = error;
}

}  // namespace

absl::StatusOr<MappedFileGuard> MappedFileGuard::Install(const std::byte* begin, std::size_t bytes) {
  if (g_in_use.exchange(true)) return absl::FailedPreconditionError("mapped files are guarded already");
  MappedFileGuard guard;
  guard.installed_ = true;
  g_begin.store(reinterpret_cast<std::uintptr_t>(begin));
  g_end.store(reinterpret_cast<std::uintptr_t>(begin) + bytes);
  g_page_bytes.store(static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)));
  g_failed.store(false);
  struct sigaction action {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, &g_before) != 0) {
    const int error = errno;
    guard.installed_ = false;
    g_in_use.store(false);
    return base::ErrnoStatus(error, "handle SIGBUS");
  }
  return guard;
}

MappedFileGuard::MappedFileGuard(MappedFileGuard&& other) noexcept
    : installed_(std::exchange(other.installed_, false)) {}

MappedFileGuard::~MappedFileGuard() {
  if (!installed_) return;
  ::sigaction(SIGBUS, &g_before, nullptr);
  g_begin.store(0);
  g_end.store(0);
  g_failed.store(false);
  g_in_use.store(false);
}

bool MappedFileGuard::failed() {
  return g_failed.load();
}

}  // namespace ballast::model
