// The handle by which other threads end a run.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "worker/agent/end_of_run.h"

namespace ballast::agent {

// Carries one wish, that the run should end, to the thread that carries the run out. Thread-safe.
class RunControl {
 public:
  // RESOURCE_EXHAUSTED when the process is out of descriptors.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<RunControl>> Create();

  // Asks for the end. The first wish counts.
  void RequestEnd(AskedEnd asked);
  // The wish, if there is one.
  [[nodiscard]] std::optional<AskedEnd> asked() const;
  // Readable from the first wish on: for poll().
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  explicit RunControl(base::Fd event) : event_(std::move(event)) {}

  base::Fd event_;
  mutable std::mutex mutex_;
  std::optional<AskedEnd> asked_;
};

}  // namespace ballast::agent
