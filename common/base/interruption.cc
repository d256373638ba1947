#include "common/base/interruption.h"

#include <poll.h>

#include <algorithm>
#include <cstdint>

namespace ballast::base {

bool NoInterruption::WaitReadable(int fd, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd polled = {.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&polled, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0))) > 0) return true;
    if (left.count() <= 0) return false;
  }
}

}  // namespace ballast::base
