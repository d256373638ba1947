#include "worker/agent/run_control.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "common/base/status.h"

namespace ballast::agent {

absl::StatusOr<std::unique_ptr<RunControl>> RunControl::Create() {
  base::Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return base::ErrnoStatus(errno, "eventfd");
  return std::unique_ptr<RunControl>(new RunControl(std::move(event)));
}

void RunControl::RequestTarget(double target_percent) {
  const std::scoped_lock lock(mutex_);
  target_percent_ = target_percent;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(event_.get(), &one, sizeof one);
}

std::optional<double> RunControl::TakeTarget() {
  const std::scoped_lock lock(mutex_);
  if (!target_percent_) return std::nullopt;
  std::uint64_t count = 0;
  if (!asked_) [[maybe_unused]]
    const ssize_t ignored = ::read(event_.get(), &count, sizeof count);
  return std::exchange(target_percent_, std::nullopt);
}

void RunControl::RequestEnd(AskedEnd asked) {
  const std::scoped_lock lock(mutex_);
  if (asked_) return;
  asked_ = std::move(asked);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(event_.get(), &one, sizeof one);  // cannot fail: the count is 0
}

std::optional<AskedEnd> RunControl::asked() const {
  const std::scoped_lock lock(mutex_);
  return asked_;
}

}  // namespace ballast::agent
