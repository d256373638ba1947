// The handle by which other threads end a run, or give it another target.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "worker/agent/end_of_run.h"

namespace ballast::agent {

// Carries wishes to the thread that carries the run out. Thread-safe.
class RunControl {
 public:
  // RESOURCE_EXHAUSTED when the process is out of descriptors.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<RunControl>> Create();

  // Asks for another target of a burst, in percent of the limit. The last wish counts.
  void RequestTarget(double target_percent);
  // That wish, once. Call it when fd() is readable.
  [[nodiscard]] std::optional<double> TakeTarget();

  // Asks for the end. The first wish counts.
  void RequestEnd(AskedEnd asked);
  // The wish, if there is one.
  [[nodiscard]] std::optional<AskedEnd> asked() const;
  // Readable while there is a wish that was not taken, and from a wish to end on: for poll().
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  explicit RunControl(base::Fd event) : event_(std::move(event)) {}

  base::Fd event_;
  mutable std::mutex mutex_;
  std::optional<AskedEnd> asked_;
  std::optional<double> target_percent_;
};

}  // namespace ballast::agent
