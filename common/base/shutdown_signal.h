// SIGINT and SIGTERM as an event that can be waited for.
#pragma once

#include <chrono>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::base {

// Blocks SIGINT and SIGTERM for the whole process and delivers them through a descriptor. Create it in main before any
// thread starts, so that every thread inherits the mask. Children must restore the mask (ChildProcess does).
// Thread-safe after creation.
class ShutdownSignal {
 public:
  [[nodiscard]] static absl::StatusOr<ShutdownSignal> Create();

  // Readable when a signal is waiting (a signalfd): for poll().
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Waits until one of the signals arrives and returns its number; nothing when `timeout` passes first. A negative
  // timeout waits for ever.
  [[nodiscard]] std::optional<int> Wait(std::chrono::milliseconds timeout = std::chrono::milliseconds(-1)) const;

 private:
  explicit ShutdownSignal(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace ballast::base
