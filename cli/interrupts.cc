#include "cli/interrupts.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace ballast::cli {
namespace {

void Notify(int fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(fd, &one, sizeof one);
}

}  // namespace

Interrupts::Interrupts(const base::ShutdownSignal* signal)
    : pending_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), stop_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (signal != nullptr) thread_ = std::jthread([this, signal] { Listen(*signal); });
}

Interrupts::~Interrupts() {
  Notify(stop_fd_.get());
}

bool Interrupts::pending() const {
  const std::scoped_lock lock(mutex_);
  return pending_;
}

void Interrupts::Acknowledge() {
  const std::scoped_lock lock(mutex_);
  pending_ = false;
  std::uint64_t drained = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(pending_fd_.get(), &drained, sizeof drained);
}

bool Interrupts::WaitFor(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, duration, [this] { return pending_; });
}

bool Interrupts::WaitReadable(int fd, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    std::array<pollfd, 2> fds = {{{fd, POLLIN, 0}, {pending_fd_.get(), POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) return fds[1].revents == 0;
    if (left.count() <= 0) return false;
  }
}

void Interrupts::Raise() {
  const std::scoped_lock lock(mutex_);
  pending_ = true;
  Notify(pending_fd_.get());
  arrived_.notify_all();
  // Under the lock, so that no handler runs once its scope is gone.
  for (const std::function<void()>* handler : handlers_) (*handler)();
}

void Interrupts::Listen(const base::ShutdownSignal& signal) {
  while (true) {
    std::array<pollfd, 2> fds = {{{signal.fd(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0) return;
    if (fds[0].revents != 0 && signal.Wait(std::chrono::milliseconds(0)).has_value()) Raise();
  }
}

Interrupts::Scope::Scope(Interrupts& interrupts, std::function<void()> handler)
    : interrupts_(interrupts), handler_(std::move(handler)) {
  const std::scoped_lock lock(interrupts_.mutex_);
  interrupts_.handlers_.push_back(&handler_);
  if (interrupts_.pending_) handler_();
}

Interrupts::Scope::~Scope() {
  const std::scoped_lock lock(interrupts_.mutex_);
  std::erase(interrupts_.handlers_, &handler_);
}

}  // namespace ballast::cli
