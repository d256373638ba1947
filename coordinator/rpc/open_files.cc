#include "coordinator/rpc/open_files.h"

#include <sys/resource.h>

#include <cerrno>
#include <system_error>

#include "common/base/logging.h"

namespace ballast::coordinator {
namespace {

// A connection each for a lab of devices and those who watch them, and what the program itself has open.
constexpr rlim_t kEnough = 4096;

}  // namespace

std::size_t RaiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kEnough;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
      limit = raised;
    } else {
      base::Log().warn("the limit of open files stays at {}: {}", limit.rlim_cur,
                       std::generic_category().message(errno));
    }
  }
  if (limit.rlim_cur < kEnough) {
    base::Log().warn(
        "at most {} files can be open at once, and each worker and client takes one; raise the hard limit "
        "(LimitNOFILE= of the systemd unit, ulimit -Hn) to {} or more",
        limit.rlim_cur, kEnough);
  }
  return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace ballast::coordinator
