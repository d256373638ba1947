// For how long tasks have stalled on memory: the kernel's pressure stall information (PSI).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace ballast::os {

// One of the kernel's two figures.
struct StallFigure {
  std::uint64_t total_us = 0;  // stalled microseconds since boot, or since the cgroup was made
  double avg10_percent = 0;    // share of the last 10 s
};

// One reading.
struct StallReading {
  StallFigure some;  // at least one task stalled
  StallFigure full;  // all tasks that were not idle stalled at once
};

// Reads the stall where the limit is: of the machine, or, where a memory cgroup has a smaller limit than the machine
// has memory, of that cgroup. Of version 1, whose hierarchy has no such figures, the process's cgroup in the unified
// hierarchy beside it is taken, where it has one. Keeps its descriptor open. Read() does not allocate. Not thread-safe.
class MemoryStall {
 public:
  // For a process: a pid or `self`. `root` is where /proc and /sys are found; tests lay out a tree of their own.
  // NOT_FOUND where the kernel has no PSI.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryStall>> Open(const std::string& root = "/",
                                                                         const std::string& process = "self");
  virtual ~MemoryStall() = default;

  // The file with the figures of the machine, and the one that Open() would read for a process; both empty where the
  // kernel has no PSI. For those who set triggers on them.
  struct Paths {
    std::string machine;
    std::string limiting;
  };
  [[nodiscard]] static Paths FindPaths(const std::string& root = "/", const std::string& process = "self");

  // The totals are up to the moment. Codes of ErrnoStatus; INVALID_ARGUMENT where the file makes no sense.
  [[nodiscard]] virtual absl::StatusOr<StallReading> Read() = 0;
};

}  // namespace ballast::os
