// The kernel's figure for a stall that the runner holds.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ballast/v1/workload.pb.h"
#include "common/os/memory_stall.h"

namespace ballast::agent {

// Reads, while a runner follows a stall, the average that says how closely: where the runner reads it too, in its own
// cgroup or on the machine. Not thread-safe.
class StallWatch {
 public:
  // `root` is where /proc and /sys are found.
  explicit StallWatch(std::string root) : root_(std::move(root)) {}

  // The average of the last 10 s of the figure that the runner aims at, in percent. Absent where it aims at none, and
  // where the kernel does not tell.
  [[nodiscard]] std::optional<double> Read(const std::optional<v1::PsiTarget>& target, pid_t runner);

 private:
  std::string root_;
  bool opened_ = false;
  std::unique_ptr<os::MemoryStall> stall_;
};

}  // namespace ballast::agent
