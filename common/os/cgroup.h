// Where a process stands in the control group hierarchies, version 1 and 2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast::os {

// A line of /proc/PID/cgroup.
struct CgroupMembership {
  std::uint32_t hierarchy = 0;           // 0 is version 2
  std::vector<std::string> controllers;  // empty for version 2
  std::string path;
};
// Lines that make no sense are left out.
[[nodiscard]] std::vector<CgroupMembership> ParseCgroupMemberships(std::string_view content);

// A cgroup line of /proc/PID/mountinfo.
struct CgroupMount {
  int version = 0;          // 1 or 2
  std::string root;         // the cgroup that is mounted there; `/` for the whole hierarchy
  std::string mount_point;  // with the kernel's octal escapes undone
  // Version 1: the controllers of this hierarchy, among its other mount options. Empty for version 2.
  std::vector<std::string> controllers = {};
};
// Lines of other file systems, and those that make no sense, are left out.
[[nodiscard]] std::vector<CgroupMount> ParseCgroupMounts(std::string_view content);

// The directory of the cgroup `path` under `mount`; the mount point itself where the path lies outside of what is
// mounted (as in containers).
[[nodiscard]] std::string CgroupDirectory(const CgroupMount& mount, std::string_view path);

// Where one process stands.
struct CgroupLocation {
  // Version of the hierarchy that has the memory controller: 1 or 2; 0 where there is none.
  int memory_version = 0;
  // Path of the process's cgroup in that hierarchy, as the kernel names it.
  std::string memory_path;
  // Directory of that cgroup and of each of its ancestors up to the mount point, innermost first.
  std::vector<std::string> memory_directories;
  // Directory of the process's cgroup in the version 2 hierarchy, which has memory.pressure even where version 1 has
  // the controller. Empty where version 2 is not mounted.
  std::string unified_directory;
};

// Finds the cgroups of a process: `process` is a pid or `self`. `root` is where /proc and /sys are found. Version 1 is
// taken where its memory hierarchy is mounted; else version 2, if its memory controller is there. A machine without
// either is no error. NOT_FOUND and others when /proc/PID cannot be read.
[[nodiscard]] absl::StatusOr<CgroupLocation> LocateCgroups(const std::string& root = "/",
                                                           const std::string& process = "self");

// A place in one hierarchy of version 1.
struct HierarchyPlace {
  std::string path;                      // as the kernel names the cgroup
  std::vector<std::string> directories;  // of that cgroup and of each of its ancestors, innermost first
};

// A process's place in the version 1 hierarchy of `controller` (`cpu`, `blkio`); nothing where version 1 does not have
// it. `root` and `process` as in LocateCgroups.
[[nodiscard]] std::optional<HierarchyPlace> LocateVersion1(std::string_view controller, const std::string& root = "/",
                                                           const std::string& process = "self");

// Whether the kernel runs without memory cgroups: built or booted so, as many boards are. `root` is where /proc is
// found.
[[nodiscard]] bool HasNoMemoryCgroups(const std::string& root = "/");

// Whether the directory is the true root of its hierarchy, and not the root of what a container sees: it lacks (version
// 2) or alone has (version 1) a file.
[[nodiscard]] bool IsTrueRoot(const std::string& directory, int version);

// File names in a cgroup's directory, by version of its hierarchy.
struct MemoryCgroupFiles {
  std::string_view usage;       // bytes charged
  std::string_view limit;       // hard limit in bytes; see ParseMemoryLimit
  std::string_view swap_limit;  // version 2: of swap alone; version 1: of memory and swap together
  std::string_view swap_usage;  // the same
  bool swap_includes_memory;    // whether those two are of both together
  std::string_view stat;
  std::string_view active_file;    // key in `stat`: active page cache of the group and its descendants
  std::string_view inactive_file;  // key in `stat`: inactive page cache of the group and its descendants
  // Keys in `stat`, in pages, of the group and its descendants: pages that came back soon after they were dropped, and
  // pages that were swapped in. Kernels before 5.9 know only `refault`, and few tell of `swap_in`.
  std::string_view refault_anon;
  std::string_view refault_file;
  std::string_view refault;
  std::string_view swap_in;
  std::string_view oom_events;  // file with the key `oom_kill`
};
[[nodiscard]] const MemoryCgroupFiles& MemoryFilesOf(int version);

// The directory of the memory cgroup whose limit holds at `location`: the smallest of its own and its ancestors' that
// is below `machine_bytes`; of equal ones the innermost. Empty where the machine's memory is the limit.
[[nodiscard]] std::string FindLimitingDirectory(const CgroupLocation& location, std::uint64_t machine_bytes);

// A memory limit in bytes; nothing for `max`, for version 1's way of saying "none" (a number near 2^63), and for text
// that is no number.
[[nodiscard]] std::optional<std::uint64_t> ParseMemoryLimit(std::string_view content);

}  // namespace ballast::os
