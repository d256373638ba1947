#include "common/base/shutdown_signal.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "common/base/status.h"

namespace ballast::base {

absl::StatusOr<ShutdownSignal> ShutdownSignal::Create() {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, SIGTERM);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &mask, nullptr); error != 0)
    return ErrnoStatus(error, "block signals");
  Fd fd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "signalfd");
  return ShutdownSignal(std::move(fd));
}

std::optional<int> ShutdownSignal::Wait(std::chrono::milliseconds timeout) const {
  constexpr std::int64_t kMaxPollMs = 3'600'000;  // longer waits go round again
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      return static_cast<int>(info.ssi_signo);
    int wait_ms = -1;
    if (timeout.count() >= 0) {
      const auto left =
          timeout - std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
      if (left.count() <= 0) return std::nullopt;
      wait_ms = static_cast<int>(std::min<std::int64_t>(left.count(), kMaxPollMs));
    }
    pollfd poll_fd{fd_.get(), POLLIN, 0};
    ::poll(&poll_fd, 1, wait_ms);
  }
}

}  // namespace ballast::base
