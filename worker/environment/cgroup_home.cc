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

std::unique_ptr<CgroupHome> CgroupHome::Prepare(const std::string& root, Purpose purpose) {
  std::unique_ptr<CgroupHome> home(new CgroupHome(purpose));
  absl::StatusOr<os::CgroupLocation> location = os::LocateCgroups(root);
  if (!location.ok() || location->memory_directories.empty()) {
    home->DoWithout(os::HasNoMemoryCgroups(root)
                        ? EnvironmentRefusal{.cause = "no memory cgroup is mounted: the kernel was built or booted "
                                                      "without the memory controller",
                                             .place = "/proc/cgroups: memory",
                                             .next_step = "remove cgroup_disable=memory from the kernel's command line "
                                                          "(boards: add cgroup_enable=memory) and boot again"}
                        : EnvironmentRefusal{.cause = "no memory cgroup is mounted",
                                             .place = "/proc/self/mountinfo",
                                             .next_step = "mount -t cgroup2 none /sys/fs/cgroup"});
    return home;
  }
  home->base_ = *std::move(location);
  home->Sweep(root);
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

void CgroupHome::DoWithout(EnvironmentRefusal why) {
  limitations_.push_back(fmt::format("{}: {} (try: {}).", kNoGroup, why.cause, why.next_step));
  no_limits_ = std::move(why);
}

void CgroupHome::Sweep(const std::string& root) {
  std::vector<std::string> directories = {base_.memory_directories.front()};
  if (base_.memory_version == 1) {
    for (const char* const controller : {"cpu", "blkio"}) {
      if (const auto place = os::LocateVersion1(controller, root)) directories.push_back(place->directories.front());
    }
    if (!base_.unified_directory.empty()) directories.push_back(base_.unified_directory);
  }
  for (const std::string& directory : directories) {
    const int swept = SweepGroups(directory);
    if (swept > 0) base::Log().warn("{} cgroup(s) of workers that have crashed were removed from {}", swept, directory);
  }
}

std::string CgroupHome::PathOf(const char* file) const {
  return fmt::format("{}/{}", base_.memory_directories.front(), file);
}

void CgroupHome::PrepareVersion1() {
  // Kernels before 5.11 could be told not to let limits hold for children.
  if (base_.memory_directories.size() > 1 && HasWord(Content(PathOf("memory.use_hierarchy")), "0")) {
    DoWithout({.cause = fmt::format("limits do not hold for children of {} (memory.use_hierarchy is 0)",
                                    base_.memory_directories.front()),
               .place = PathOf("memory.use_hierarchy"),
               .next_step = "start the worker in a cgroup whose memory.use_hierarchy is 1"});
    return;
  }
  if (ProbeRunGroup()) isolation_ = v1::CGROUP_V1;
}

void CgroupHome::PrepareVersion2() {
  const std::string& directory = base_.memory_directories.front();
  // The true root has no type; the root of a container's view has.
  at_root_ =
      os::IsTrueRoot(directory, base_.memory_version) && ::access(PathOf("cgroup.subtree_control").c_str(), F_OK) == 0;
  const char* const scope =
      ::geteuid() == 0 ? "systemd-run --scope -p Delegate=yes" : "systemd-run --user --scope -p Delegate=yes";
  if (!HasWord(Content(PathOf("cgroup.controllers")), "memory")) {
    DoWithout({.cause = fmt::format("the memory controller is not delegated to {}", directory),
               .place = PathOf("cgroup.controllers"),
               .next_step = fmt::format("run it as a systemd service with Delegate=yes, or by `{} …`", scope)});
    return;
  }
  if (const int others = CountOthers(Content(PathOf("cgroup.procs"))); !at_root_ && others > 0) {
    DoWithout(
        {.cause = fmt::format("{} has {} other process(es), and version 2 wants a cgroup with processes to have no "
                              "children with controllers",
                              directory, others),
         .place = PathOf("cgroup.procs"),
         .next_step = fmt::format("run it as a systemd service with Delegate=yes, or by `{} …`", scope)});
    return;
  }
  if (!MoveIntoLeaf()) return;
  if (!ProbeRunGroup()) {
    MoveBack();
    return;
  }
  isolation_ = v1::CGROUP_V2;
  if (purpose_ == Purpose::kAgent) ProtectMemory();
}

bool CgroupHome::MoveIntoLeaf() {
  const auto give_up = [this](const absl::Status& status) {
    DoWithout({.cause = std::string(status.message()),
               .place = base_.memory_directories.front(),
               .next_step = "run it as root, or in a cgroup that is delegated to its user (systemd: Delegate=yes)"});
    MoveBack();
    return false;
  };
  if (!at_root_ || purpose_ == Purpose::kAgent) {
    absl::StatusOr<OwnGroup> leaf = OwnGroup::Create(base_, kAgentGroupPrefix);
    if (!leaf.ok()) return give_up(leaf.status());
    leaf_ = *std::move(leaf);
    if (const absl::Status moved = leaf_.Write("cgroup.procs", "0"); !moved.ok()) return give_up(moved);
  }
  if (const absl::Status told = HandDown("memory"); !told.ok()) return give_up(told);
  return true;
}

absl::Status CgroupHome::HandDown(std::string_view controller) {
  if (HasWord(Content(PathOf("cgroup.subtree_control")), controller)) return absl::OkStatus();
  BALLAST_RETURN_IF_ERROR(WriteFile(PathOf("cgroup.subtree_control"), fmt::format("+{}", controller)));
  if (!at_root_) handed_down_.emplace_back(controller);  // of the root others may have come to rely on it
  return absl::OkStatus();
}

std::string CgroupHome::TakeBack() const {
  std::string text;
  for (const std::string& controller : handed_down_) text += fmt::format("{}-{}", text.empty() ? "" : " ", controller);
  return text;
}

void CgroupHome::LetKeeperLeave(RunnerKeeper* keeper) const {
  if (purpose_ != Purpose::kCommand || leaf_.location().memory_directories.empty()) return;
  // The keeper was forked in the leaf. Where it cannot be told, the next start removes the leaf.
  (void)keeper->LeaveAfterwards(leaf_.directory(), TakeBack());
}

void CgroupHome::MoveBack() {
  if (leaf_.location().memory_directories.empty()) return;
  // No processes where controllers are handed down, so that comes first.
  if (!handed_down_.empty()) (void)WriteFile(PathOf("cgroup.subtree_control"), TakeBack());
  handed_down_.clear();
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
  // The group that a command is about to get says the same; and this one would be left where it is killed now.
  if (purpose_ == Purpose::kCommand) return true;
  const absl::StatusOr<OwnGroup> probe = OwnGroup::Create(base_, kRunGroupPrefix);
  if (!probe.ok()) {
    DoWithout({.cause = std::string(probe.status().message()),
               .place = base_.memory_directories.front(),
               .next_step = "run it as root, or in a cgroup that is delegated to its user"});
    return false;
  }
  const std::string limit = fmt::format("{}/{}", probe->directory(), os::MemoryFilesOf(base_.memory_version).limit);
  if (::access(limit.c_str(), W_OK) == 0) return true;
  DoWithout({.cause = fmt::format("{} hands no memory controller to its children", base_.memory_directories.front()),
             .place = limit + " is missing",
             .next_step = "run it in another cgroup (systemd: Delegate=yes)"});
  return false;
}

absl::StatusOr<OwnGroup> CgroupHome::MakeRunGroup() const {
  if (isolation_ == v1::PROCESS_GROUP) return absl::FailedPreconditionError("runners have a process group only");
  return MakeRunGroupBelow(base_);
}

}  // namespace ballast::environment
