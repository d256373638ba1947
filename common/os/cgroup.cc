#include "common/os/cgroup.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/os/line_scanner.h"

namespace ballast::os {
namespace {

// Version 1 says "no limit" with the greatest page-aligned signed number; pages differ, so anything in its
// neighbourhood is taken for it.
constexpr std::uint64_t kVersion1Unlimited = 0x7fff'ffff'0000'0000U;

constexpr std::size_t kMaxProcFileBytes = 4U << 20U;
constexpr std::size_t kMaxNumberBytes = 4096;

constexpr MemoryCgroupFiles kVersion1Files = {
    .usage = "memory.usage_in_bytes",
    .limit = "memory.limit_in_bytes",
    .swap_limit = "memory.memsw.limit_in_bytes",
    .swap_usage = "memory.memsw.usage_in_bytes",
    .swap_includes_memory = true,
    .stat = "memory.stat",
    .active_file = "total_active_file",
    .inactive_file = "total_inactive_file",
    .refault_anon = "total_workingset_refault_anon",
    .refault_file = "total_workingset_refault_file",
    .refault = "total_workingset_refault",
    .swap_in = "total_pswpin",
    .oom_events = "memory.oom_control",
};
constexpr MemoryCgroupFiles kVersion2Files = {
    .usage = "memory.current",
    .limit = "memory.max",
    .swap_limit = "memory.swap.max",
    .swap_usage = "memory.swap.current",
    .swap_includes_memory = false,
    .stat = "memory.stat",
    .active_file = "active_file",
    .inactive_file = "inactive_file",
    .refault_anon = "workingset_refault_anon",
    .refault_file = "workingset_refault_file",
    .refault = "workingset_refault",
    .swap_in = "pswpin",
    .oom_events = "memory.events",
};

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    const std::string_view part = text.substr(0, end);
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

bool Contains(const std::vector<std::string>& list, std::string_view value) {
  for (const std::string& entry : list) {
    if (entry == value) return true;
  }
  return false;
}

bool IsOctal(char c) {
  return c >= '0' && c <= '7';
}

// The kernel writes blanks, newlines and backslashes in paths as \ooo.
std::string UndoEscapes(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && text.size() - i >= 4 && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      const int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      result.push_back(static_cast<char>(code & 0xff));
      i += 3;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

// `root` + an absolute path, with exactly one slash between.
std::string UnderRoot(std::string_view root, std::string_view absolute_path) {
  while (root.ends_with('/')) root.remove_suffix(1);
  return fmt::format("{}{}", root, absolute_path);
}

// Where the cgroup `path` is to be found under `mount`, whose mount point has the root before it already.
std::string ExistingDirectory(const CgroupMount& mount, std::string_view path) {
  std::string directory = CgroupDirectory(mount, path);
  std::error_code error;
  return std::filesystem::exists(directory, error) ? directory : mount.mount_point;
}

// The directory and its ancestors up to the mount point, innermost first.
std::vector<std::string> WithAncestors(std::string directory, std::string_view mount_point) {
  std::vector<std::string> directories;
  while (directory.size() > mount_point.size()) {
    directories.push_back(directory);
    directory.resize(directory.rfind('/'));
  }
  directories.emplace_back(mount_point);
  return directories;
}

const CgroupMembership* FindMembership(const std::vector<CgroupMembership>& memberships, int version,
                                       std::string_view controller = "memory") {
  for (const CgroupMembership& membership : memberships) {
    if (version == 1 ? Contains(membership.controllers, controller) : membership.hierarchy == 0) return &membership;
  }
  return nullptr;
}

// Version 2 has the memory controller where the mounted root lists it: it does not while version 1 holds the
// controller.
bool UnifiedHasMemory(const std::string& mount_point) {
  const absl::StatusOr<std::string> controllers =
      base::ReadFile(fmt::format("{}/cgroup.controllers", mount_point), kMaxProcFileBytes);
  if (!controllers.ok()) return false;
  std::string_view text = *controllers;
  std::string_view word;
  while (NextWord(&text, &word)) {
    if (word == "memory") return true;
  }
  return false;
}

}  // namespace

std::vector<CgroupMembership> ParseCgroupMemberships(std::string_view content) {
  std::vector<CgroupMembership> result;
  std::string_view line;
  while (NextLine(&content, &line)) {
    // ID:CONTROLLERS:PATH; the path may hold colons.
    const std::size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::optional<std::uint32_t> hierarchy = ToNumber<std::uint32_t>(line.substr(0, first));
    const std::string_view path = line.substr(second + 1);
    if (!hierarchy || !path.starts_with('/')) continue;
    CgroupMembership& membership = result.emplace_back();
    membership.hierarchy = *hierarchy;
    membership.controllers = Split(line.substr(first + 1, second - first - 1), ',');
    membership.path = std::string(path);
  }
  return result;
}

std::vector<CgroupMount> ParseCgroupMounts(std::string_view content) {
  std::vector<CgroupMount> result;
  std::string_view line;
  while (NextLine(&content, &line)) {
    // ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER_OPTIONS
    std::string_view skipped;
    std::string_view root;
    std::string_view mount_point;
    if (!NextWord(&line, &skipped) || !NextWord(&line, &skipped) || !NextWord(&line, &skipped) ||
        !NextWord(&line, &root) || !NextWord(&line, &mount_point)) {
      continue;
    }
    std::string_view word;
    bool separated = false;
    while (!separated && NextWord(&line, &word)) separated = word == "-";
    std::string_view type;
    std::string_view source;
    std::string_view options;
    if (!separated || !NextWord(&line, &type) || !NextWord(&line, &source)) continue;
    if (type != "cgroup" && type != "cgroup2") continue;
    if (!root.starts_with('/') || !mount_point.starts_with('/')) continue;
    CgroupMount mount;
    mount.version = type == "cgroup" ? 1 : 2;
    mount.root = UndoEscapes(root);
    mount.mount_point = UndoEscapes(mount_point);
    if (mount.version == 1 && NextWord(&line, &options)) mount.controllers = Split(options, ',');
    result.push_back(std::move(mount));
  }
  return result;
}

std::string CgroupDirectory(const CgroupMount& mount, std::string_view path) {
  std::string_view relative = path;
  if (mount.root != "/") {
    if (!relative.starts_with(mount.root)) return mount.mount_point;
    relative.remove_prefix(mount.root.size());
    if (!relative.empty() && !relative.starts_with('/')) return mount.mount_point;
  }
  while (relative.ends_with('/')) relative.remove_suffix(1);
  // A cgroup outside of this process's cgroup namespace is shown as /../…: not reachable from here.
  if (relative == "/.." || relative.starts_with("/../")) return mount.mount_point;
  return fmt::format("{}{}", mount.mount_point, relative);
}

absl::StatusOr<CgroupLocation> LocateCgroups(const std::string& root, const std::string& process) {
  BALLAST_ASSIGN_OR_RETURN(const std::string cgroup_text,
                           base::ReadFile(UnderRoot(root, fmt::format("/proc/{}/cgroup", process)), kMaxProcFileBytes));
  BALLAST_ASSIGN_OR_RETURN(const std::string mount_text,
                           base::ReadFile(UnderRoot(root, "/proc/self/mountinfo"), kMaxProcFileBytes));
  const std::vector<CgroupMembership> memberships = ParseCgroupMemberships(cgroup_text);
  CgroupLocation location;
  // The kernel's rule: a controller belongs to one hierarchy at a time. A mounted version 1 memory hierarchy is
  // therefore the one.
  for (const CgroupMount& parsed : ParseCgroupMounts(mount_text)) {
    const CgroupMembership* membership = FindMembership(memberships, parsed.version);
    if (membership == nullptr || (parsed.version == 1 && !Contains(parsed.controllers, "memory"))) continue;
    CgroupMount mount = parsed;
    mount.mount_point = UnderRoot(root, parsed.mount_point);
    const std::string directory = ExistingDirectory(mount, membership->path);
    const bool has_memory = parsed.version == 1 || UnifiedHasMemory(mount.mount_point);
    if (parsed.version == 2 && location.unified_directory.empty()) location.unified_directory = directory;
    if (!has_memory || location.memory_version == 1 || location.memory_version == parsed.version) continue;
    location.memory_version = parsed.version;
    location.memory_path = membership->path;
    location.memory_directories = WithAncestors(directory, mount.mount_point);
  }
  return location;
}

std::optional<HierarchyPlace> LocateVersion1(std::string_view controller, const std::string& root,
                                             const std::string& process) {
  const auto cgroup_text = base::ReadFile(UnderRoot(root, fmt::format("/proc/{}/cgroup", process)), kMaxProcFileBytes);
  const auto mount_text = base::ReadFile(UnderRoot(root, "/proc/self/mountinfo"), kMaxProcFileBytes);
  if (!cgroup_text.ok() || !mount_text.ok()) return std::nullopt;
  const std::vector<CgroupMembership> memberships = ParseCgroupMemberships(*cgroup_text);
  const CgroupMembership* const membership = FindMembership(memberships, 1, controller);
  if (membership == nullptr) return std::nullopt;
  for (CgroupMount& mount : ParseCgroupMounts(*mount_text)) {
    if (!Contains(mount.controllers, controller)) continue;
    mount.mount_point = UnderRoot(root, mount.mount_point);
    return HierarchyPlace{.path = membership->path,
                          .directories = WithAncestors(ExistingDirectory(mount, membership->path), mount.mount_point)};
  }
  return std::nullopt;
}

bool HasNoMemoryCgroups(const std::string& root) {
  const absl::StatusOr<std::string> content = base::ReadFile(UnderRoot(root, "/proc/cgroups"), kMaxProcFileBytes);
  if (!content.ok()) return false;
  std::string_view text = *content;
  std::string_view line;
  while (NextLine(&text, &line)) {
    std::string_view name;  // NAME HIERARCHY NUM_CGROUPS ENABLED
    if (!NextWord(&line, &name) || name != "memory") continue;
    (void)NextNumber<int>(&line);
    (void)NextNumber<int>(&line);
    return NextNumber<int>(&line) == 0;
  }
  return true;
}

bool IsTrueRoot(const std::string& directory, int version) {
  std::error_code error;
  const bool root_only = std::filesystem::exists(fmt::format("{}/release_agent", directory), error);
  const bool never_root = std::filesystem::exists(fmt::format("{}/cgroup.type", directory), error);
  return version == 1 ? root_only : !never_root;
}

const MemoryCgroupFiles& MemoryFilesOf(int version) {
  return version == 1 ? kVersion1Files : kVersion2Files;
}

std::string FindLimitingDirectory(const CgroupLocation& location, std::uint64_t machine_bytes) {
  std::uint64_t smallest = machine_bytes;
  std::string limiting;
  for (const std::string& directory : location.memory_directories) {
    const absl::StatusOr<std::string> text =
        base::ReadFile(fmt::format("{}/{}", directory, MemoryFilesOf(location.memory_version).limit), kMaxNumberBytes);
    const std::optional<std::uint64_t> limit = text.ok() ? ParseMemoryLimit(*text) : std::nullopt;
    if (!limit || *limit >= smallest) continue;
    smallest = *limit;
    limiting = directory;
  }
  return limiting;
}

std::optional<std::uint64_t> ParseMemoryLimit(std::string_view content) {
  std::string_view word;
  if (!NextWord(&content, &word)) return std::nullopt;
  const std::optional<std::uint64_t> value = ToNumber<std::uint64_t>(word);
  if (!value || *value >= kVersion1Unlimited) return std::nullopt;
  return value;
}

}  // namespace ballast::os
