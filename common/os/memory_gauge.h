// How much memory is in use, of what limit: what every percentage in this program refers to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/os/cgroup.h"

namespace ballast::os {

// One reading.
struct MemoryReading {
  std::uint64_t limit_bytes =
      0;  // the smallest of MemTotal and the limits of this process's memory cgroup and all its ancestors
  std::uint64_t available_bytes = 0;  // of that limit: what can still be allocated without swapping
  // What can still be allocated before any limit is met: the least of what the machine has available and what is left
  // under the limit of each cgroup. Smaller than `available_bytes` where the machine, or an outer cgroup, is fuller
  // than the cgroup whose limit holds.
  std::uint64_t headroom_bytes = 0;
  // File pages under the limit (page cache of the machine or of the cgroup), and those of them that `available_bytes`
  // counts as available: all of the machine's, the inactive ones of a cgroup's.
  std::uint64_t file_bytes = 0;
  std::uint64_t available_file_bytes = 0;
  // What can still be swapped out: the least of free swap and what is left of each cgroup's limit of swap.
  std::uint64_t swap_headroom_bytes = 0;
  // Pages of files that a load holds, resident: they count as in use above, and the kernel can drop them all the same.
  std::uint64_t held_file_bytes = 0;
  // In use by everyone under the limit: limit - available.
  [[nodiscard]] std::uint64_t used_bytes() const {
    return limit_bytes > available_bytes ? limit_bytes - available_bytes : 0;
  }
  [[nodiscard]] double used_percent() const {
    return limit_bytes == 0 ? 0.0 : 100.0 * static_cast<double>(used_bytes()) / static_cast<double>(limit_bytes);
  }
  [[nodiscard]] double available_percent() const { return 100.0 - used_percent(); }
};

// `reading` with `held_file_bytes` of resident file pages counted as in use: for a load that holds such pages and means
// them to be, although the kernel calls them available, because it can drop them. Of a cgroup's file pages only the
// inactive ones are counted as available, so those held are taken to have the same share of them as all have.
[[nodiscard]] MemoryReading CountHeldFileBytes(MemoryReading reading, std::uint64_t held_file_bytes);

// Reads memory in use against the limit that holds: the machine's `(MemTotal - MemAvailable) / MemTotal`, or, where a
// memory cgroup (version 1 or 2, this process's or any ancestor's) has a smaller limit, that cgroup's usage less its
// inactive page cache, against its limit. Keeps its descriptors open. Read() does not allocate. Not thread-safe: one
// gauge a thread.
class MemoryGauge {
 public:
  // `root` is where /proc and /sys are found; tests lay out a tree of their own. NOT_FOUND or INVALID_ARGUMENT when
  // /proc/meminfo cannot be read or made sense of; a missing or unreadable cgroup hierarchy only means that the machine
  // is the limit.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryGauge>> Open(const std::string& root = "/");
  // The same for a process that stands, or will stand, at `location`.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryGauge>> Open(const std::string& root,
                                                                         const CgroupLocation& location);
  virtual ~MemoryGauge() = default;

  [[nodiscard]] virtual absl::StatusOr<MemoryReading> Read() = 0;

  // `machine`, or the path of the cgroup whose limit held at the last Read() (at Open() before the first).
  [[nodiscard]] virtual const std::string& limit_source() const = 0;
};

}  // namespace ballast::os
