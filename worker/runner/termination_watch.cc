#include "worker/runner/termination_watch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::runner {
namespace {

constexpr std::size_t kMaxNameBytes = 64;

std::string CommandOf(std::uint32_t pid) {
  absl::StatusOr<std::string> name = base::ReadFile(fmt::format("/proc/{}/comm", pid), kMaxNameBytes);
  if (!name.ok()) return {};
  if (name->ends_with('\n')) name->pop_back();
  return *std::move(name);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TerminationWatch>> TerminationWatch::Start(std::stop_source* stop) {
  std::unique_ptr<TerminationWatch> watch(new TerminationWatch());
  watch->stop_ = stop;
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &terminate, nullptr); error != 0)
    return base::ErrnoStatus(error, "block SIGTERM");
  watch->signals_.Reset(::signalfd(-1, &terminate, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!watch->signals_.valid()) return base::ErrnoStatus(errno, "signalfd for SIGTERM");
  watch->finish_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!watch->finish_.valid()) return base::ErrnoStatus(errno, "eventfd");
  watch->thread_ = std::jthread([raw = watch.get()] { raw->Watch(); });
  return watch;
}

TerminationWatch::~TerminationWatch() {
  (void)Finish();
}

std::optional<v1::SignalSender> TerminationWatch::Finish() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(finish_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
  return sender_;
}

void TerminationWatch::Watch() {
  while (true) {
    std::array<pollfd, 2> polled = {{{signals_.get(), POLLIN, 0}, {finish_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    // Signals first: one that came before the end still counts.
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      // Before the memory is released: that takes time, and the sender may be gone by then.
      const std::string command = info.ssi_pid != 0 ? CommandOf(info.ssi_pid) : std::string();
      if (stop_->request_stop()) {
        sender_.emplace().set_pid(static_cast<std::int32_t>(info.ssi_pid));
        sender_->set_command(command);
      }
    }
    if (polled[1].revents != 0) return;
  }
}

}  // namespace ballast::runner
