#include "worker/environment/cgroup_home.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/os/line_scanner.h"
#include "common/os/procfs.h"

namespace ballast::environment {
namespace {

constexpr std::string_view kNoGroup = "Runners have no memory cgroup of their own, only a process group";

absl::Status WriteFile(const std::string& path, std::string_view value) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(path, O_WRONLY));
  return base::WithContext(base::WriteAll(fd.get(), value), path);
}

std::string Content(const std::string& path) {
  absl::StatusOr<std::string> content = base::ReadFile(path, 1U << 20U);
  return content.ok() ? *std::move(content) : std::string();
}

bool HasWord(const std::string& content, std::string_view wanted) {
  std::string_view text = content;
  std::string_view word;
  while (os::NextWord(&text, &word)) {
    if (word == wanted) return true;
  }
  return false;
}

// Processes in a cgroup besides this one.
int CountOthers(const std::string& procs) {
  const std::string self = std::to_string(::getpid());
  std::string_view text = procs;
  std::string_view line;
  int count = 0;
  while (os::NextLine(&text, &line)) {
    if (!line.empty() && line != self) ++count;
  }
  return count;
}

}  // namespace

std::unique_ptr<CgroupHome> CgroupHome::Prepare(const std::string& root) {
  std::unique_ptr<CgroupHome> home(new CgroupHome());
  absl::StatusOr<os::CgroupLocation> location = os::LocateCgroups(root);
  if (!location.ok() || location->memory_directories.empty()) {
    home->limitations_.push_back(fmt::format(
        "{}: no memory cgroup is mounted, or the kernel was booted without the memory controller.", kNoGroup));
    return home;
  }
  home->base_ = *std::move(location);
  if (const int swept = SweepGroups(home->base_.memory_directories.front()); swept > 0) {
    base::Log().warn("{} cgroup(s) of workers that have crashed were removed from {}", swept,
                     home->base_.memory_directories.front());
  }
  if (home->base_.memory_version == 1) {
    home->PrepareVersion1();
  } else {
    home->PrepareVersion2();
  }
  return home;
}

CgroupHome::~CgroupHome() {
  MoveBack();
}

std::string CgroupHome::PathOf(const char* file) const {
  return fmt::format("{}/{}", base_.memory_directories.front(), file);
}

void CgroupHome::PrepareVersion1() {
  // Kernels before 5.11 could be told not to let limits hold for children.
  if (base_.memory_directories.size() > 1 && HasWord(Content(PathOf("memory.use_hierarchy")), "0")) {
    limitations_.push_back(fmt::format("{}: limits do not hold for children of {} (memory.use_hierarchy is 0).",
                                       kNoGroup, base_.memory_directories.front()));
    return;
  }
  if (ProbeRunGroup()) isolation_ = v1::CGROUP_V1;
}

void CgroupHome::PrepareVersion2() {
  const std::string& directory = base_.memory_directories.front();
  // The true root has no type; the root of a container's view has.
  const bool at_root = ::access(PathOf("cgroup.type").c_str(), F_OK) != 0 &&
                       ::access(PathOf("cgroup.subtree_control").c_str(), F_OK) == 0;
  if (!HasWord(Content(PathOf("cgroup.controllers")), "memory")) {
    limitations_.push_back(
        fmt::format("{}: the memory controller is not delegated to {} (a systemd service needs Delegate=yes).",
                    kNoGroup, directory));
    return;
  }
  if (const int others = CountOthers(Content(PathOf("cgroup.procs"))); !at_root && others > 0) {
    limitations_.push_back(fmt::format(
        "{}: {} has {} other process(es), and version 2 wants a cgroup with processes to have no children with "
        "controllers; start the worker as a service with Delegate=yes, or with `systemd-run --scope -p Delegate=yes`.",
        kNoGroup, directory, others));
    return;
  }
  if (!MoveIntoLeaf(at_root)) return;
  if (!ProbeRunGroup()) {
    MoveBack();
    return;
  }
  isolation_ = v1::CGROUP_V2;
  ProtectMemory();
}

bool CgroupHome::MoveIntoLeaf(bool at_root) {
  const auto give_up = [this](const absl::Status& status) {
    limitations_.push_back(fmt::format("{}: {}.", kNoGroup, std::string(status.message())));
    MoveBack();
    return false;
  };
  absl::StatusOr<OwnGroup> leaf = OwnGroup::Create(base_, kAgentGroupPrefix);
  if (!leaf.ok()) return give_up(leaf.status());
  leaf_ = *std::move(leaf);
  if (const absl::Status moved = leaf_.Write("cgroup.procs", "0"); !moved.ok()) return give_up(moved);
  if (HasWord(Content(PathOf("cgroup.subtree_control")), "memory")) return true;
  if (const absl::Status told = WriteFile(PathOf("cgroup.subtree_control"), "+memory"); !told.ok())
    return give_up(told);
  hands_memory_down_ = !at_root;  // of the root others may have come to rely on it
  return true;
}

void CgroupHome::MoveBack() {
  if (leaf_.location().memory_directories.empty()) return;
  // No processes where controllers are handed down, so that comes first.
  if (hands_memory_down_) (void)WriteFile(PathOf("cgroup.subtree_control"), "-memory");
  hands_memory_down_ = false;
  if (const absl::Status moved = WriteFile(PathOf("cgroup.procs"), "0"); !moved.ok()) {
    base::Log().warn("the cgroup {} stays: {}", leaf_.directory(), std::string(moved.message()));
    leaf_.Abandon();
    return;
  }
  leaf_ = OwnGroup();
}

void CgroupHome::ProtectMemory() {
  if (const absl::Status written = leaf_.Write("memory.min", std::to_string(kAgentMemoryBytes)); !written.ok()) {
    limitations_.push_back(fmt::format("No memory is kept for the agent: {}.", std::string(written.message())));
    return;
  }
  // Each level is promised no more than the one above it has; the root has everything.
  protected_bytes_ = kAgentMemoryBytes;
  std::string scarce;
  for (const std::string& directory : leaf_.location().memory_directories) {
    const std::string file = directory + "/memory.min";
    if (::access(file.c_str(), F_OK) != 0) continue;  // the root
    const std::uint64_t promised = os::ParseNumber(Content(file)).value_or(HasWord(Content(file), "max") ? ~0ULL : 0);
    if (promised >= protected_bytes_) continue;
    protected_bytes_ = promised;
    scarce = directory;
  }
  if (scarce.empty()) return;
  limitations_.push_back(
      fmt::format("Of the agent's {} MiB the kernel keeps only {} MiB in memory: memory.min of {} allows no more (for "
                  "a systemd unit or "
                  "slice: MemoryMin=).",
                  kAgentMemoryBytes >> 20U, protected_bytes_ >> 20U, scarce));
}

bool CgroupHome::ProbeRunGroup() {
  const absl::StatusOr<OwnGroup> probe = OwnGroup::Create(base_, kRunGroupPrefix);
  if (!probe.ok()) {
    limitations_.push_back(fmt::format("{}: {}.", kNoGroup, std::string(probe.status().message())));
    return false;
  }
  const std::string limit = fmt::format("{}/{}", probe->directory(), os::MemoryFilesOf(base_.memory_version).limit);
  if (::access(limit.c_str(), W_OK) == 0) return true;
  limitations_.push_back(
      fmt::format("{}: {} hands no memory controller to its children.", kNoGroup, base_.memory_directories.front()));
  return false;
}

absl::StatusOr<OwnGroup> CgroupHome::MakeRunGroup() const {
  if (isolation_ == v1::PROCESS_GROUP) return absl::FailedPreconditionError("runners have a process group only");
  BALLAST_ASSIGN_OR_RETURN(OwnGroup group, OwnGroup::Create(base_, kRunGroupPrefix));
  if (base_.memory_version == 2) BALLAST_RETURN_IF_ERROR(group.Write("memory.oom.group", "1"));
  return group;
}

}  // namespace ballast::environment
