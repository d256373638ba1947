#include "common/os/memory_lock.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <string>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::os {

absl::Status LockAsTouched(void* begin, std::size_t bytes) {
  if (::mlock2(begin, bytes, MLOCK_ONFAULT) == 0) return absl::OkStatus();
  if (errno == ENOSYS && ::mlock(begin, bytes) == 0) return absl::OkStatus();  // before 4.4
  const int error = errno;
  rlimit limit{};
  if ((error != ENOMEM && error != EPERM && error != EAGAIN) || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
    return base::ErrnoStatus(error, "lock pages");
  }
  return absl::ResourceExhaustedError(fmt::format(
      "{} (RLIMIT_MEMLOCK is {}); give the worker CAP_IPC_LOCK, raise the limit (ulimit -l, LimitMEMLOCK= of its "
      "service), or leave out the lock",
      std::string(base::ErrnoStatus(error, "lock pages").message()),
      limit.rlim_cur == RLIM_INFINITY ? "unlimited" : base::FormatBytes(limit.rlim_cur)));
}

}  // namespace ballast::os
