#include "worker/environment/limited_group.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/limits/limit_readback.h"
#include "common/limits/memory_check.h"
#include "common/limits/swap_check.h"
#include "common/os/procfs.h"
#include "common/os/swap_areas.h"
#include "worker/environment/disk_of.h"

namespace ballast::environment {
namespace {

constexpr int kVersion1 = 1;
constexpr int kVersion2 = 2;

using Refused = std::optional<EnvironmentRefusal>;

std::string Content(const std::string& path) {
  absl::StatusOr<std::string> content = base::ReadFile(path, 1U << 20U);
  return content.ok() ? *std::move(content) : std::string();
}

std::string Text(const absl::Status& status) {
  return std::string(status.message());
}

}  // namespace

// Makes one group, step by step.
class LimitedGroup::Maker {
 public:
  Maker(CgroupHome* home, const v1::EnvironmentProfile& profile, const LimitedGroupOptions& options,
        LimitedGroup* group)
      : home_(*home), profile_(profile), options_(options), version_(home->base().memory_version), group_(*group) {
    root_ = options.root;
    while (root_.ends_with('/')) root_.pop_back();
  }

  Refused Make() {
    if (Refused refused = CheckMachine()) return refused;
    const std::vector<PlannedLimit> limits = PlanLimits(profile_, version_, disk_);
    if (Refused refused = MakeGroups(limits)) return refused;
    for (const PlannedLimit& limit : limits) {
      if (Refused refused = Set(limit)) return refused;
    }
    for (const PlannedLimit& limit : limits) {
      if (Refused refused = ReadBack(limit)) return refused;
    }
    if (Refused refused = CheckThresholds()) return refused;
    Describe();
    return DropPageCache();
  }

 private:
  // Of a directory without a slash at its end.
  [[nodiscard]] static std::string File(const std::string& directory, std::string_view name) {
    return fmt::format("{}/{}", directory, name);
  }
  [[nodiscard]] std::string Wants(std::string_view what) const {
    return fmt::format("the environment '{}' wants {}", profile_.name(), what);
  }

  // What has to be so before anything is made.
  Refused CheckMachine() {
    if (Refused refused = CheckMachineMemory(profile_, root_)) return refused;
    if (profile_.io_read_bytes_per_second() == 0 && profile_.io_write_bytes_per_second() == 0) return std::nullopt;
    absl::StatusOr<std::string> disk = DiskOf(options_.disk_directory, options_.root);
    if (!disk.ok()) {
      return EnvironmentRefusal{
          .cause = fmt::format("{}, and there is no disk to limit: {}", Wants("a slower disk"), Text(disk.status())),
          .place = options_.disk_directory.string(),
          .next_step = "put that directory on a disk, or choose a profile without io_… limits"};
    }
    disk_ = *std::move(disk);
    return std::nullopt;
  }

  Refused MakeGroups(const std::vector<PlannedLimit>& limits) {
    absl::StatusOr<RunnerKeeper> keeper = RunnerKeeper::Start(0, std::string());
    if (!keeper.ok()) return NoGroup("a keeper that removes it in any case", keeper.status());
    group_.keeper_ = *std::move(keeper);
    if (Refused refused = MakeGroup(Controller::kMemory)) return refused;
    home_.LetKeeperLeave(&group_.keeper_);
    for (const PlannedLimit& limit : limits) {
      if (Refused refused = MakeGroup(ControllerOf(limit.kind))) return refused;
    }
    home_.LetKeeperLeave(&group_.keeper_);  // more may have been handed down
    if (Refused refused = LetLimitsHoldForChildren()) return refused;
    MakeUnifiedGroup();
    return CheckSwapOf(group_.memory_.directory());
  }

  // Once for each controller.
  Refused MakeGroup(Controller controller) {
    std::vector<std::string>& directories = directories_[static_cast<std::size_t>(controller)];
    if (!directories.empty()) return std::nullopt;
    const std::string_view name = ControllerName(controller, version_);
    if (controller == Controller::kMemory) {
      absl::StatusOr<OwnGroup> made = OwnGroup::Create(home_.base(), kEnvironmentGroupPrefix, &group_.keeper_);
      if (!made.ok()) return NoGroup("a cgroup", made.status());
      group_.memory_ = *std::move(made);
      directories = group_.memory_.location().memory_directories;
      return std::nullopt;
    }
    if (version_ == kVersion2) {
      if (const absl::Status handed = home_.HandDown(name); !handed.ok()) return NoController(name, handed);
      directories = group_.memory_.location().memory_directories;
      return std::nullopt;
    }
    const std::optional<os::HierarchyPlace> place = os::LocateVersion1(name, options_.root);
    if (!place) return NoController(name, absl::NotFoundError("no cgroup hierarchy has it"));
    // Several controllers may be in one hierarchy.
    for (const std::vector<std::string>& made : directories_) {
      if (made.size() > 1 && made[1] == place->directories.front()) {
        directories = made;
        return std::nullopt;
      }
    }
    absl::StatusOr<OwnGroup> made = OwnGroup::Create({.memory_version = kVersion1,
                                                      .memory_path = place->path,
                                                      .memory_directories = place->directories,
                                                      .unified_directory = ""},
                                                     kEnvironmentGroupPrefix, &group_.keeper_);
    if (!made.ok()) return NoController(name, made.status());
    directories = made->location().memory_directories;
    Add(*std::move(made));
    return std::nullopt;
  }

  // Its pressure.
  void MakeUnifiedGroup() {
    const std::string& parent = home_.base().unified_directory;
    if (version_ != kVersion1 || parent.empty()) return;
    absl::StatusOr<OwnGroup> made = OwnGroup::Create(
        {.memory_version = kVersion2, .memory_path = "/", .memory_directories = {parent}, .unified_directory = ""},
        kEnvironmentGroupPrefix, &group_.keeper_);
    if (!made.ok()) {
      group_.applied_.add_remarks(fmt::format("Stalls are those of the whole device: {}.", Text(made.status())));
      return;
    }
    group_.memory_.SetUnifiedDirectory(made->directory());
    Add(*std::move(made));
  }

  void Add(OwnGroup made) {
    group_.other_directories_.push_back(made.directory());
    group_.others_.push_back(std::move(made));
  }

  // Kernels before 5.11: limits of version 1 hold for what is below only where they are told so.
  Refused LetLimitsHoldForChildren() {
    if (version_ != kVersion1) return std::nullopt;
    const std::string file = File(group_.memory_.directory(), "memory.use_hierarchy");
    if (os::ParseNumber(Content(file)).value_or(1) != 0) return std::nullopt;
    const absl::Status written = group_.memory_.Write("memory.use_hierarchy", "1");
    if (written.ok() && os::ParseNumber(Content(file)) == 1U) return std::nullopt;
    return EnvironmentRefusal{.cause = "limits of the environment would not hold for the cgroups of its runs",
                              .place = file + ": 0",
                              .next_step = "start the worker in a cgroup whose memory.use_hierarchy is 1"};
  }

  Refused CheckSwapOf(const std::string& directory) {
    const std::string file = File(directory, os::MemoryFilesOf(version_).swap_limit);
    limits_swap_ = ::access(file.c_str(), F_OK) == 0;
    areas_ = os::ParseSwapAreas(Content(root_ + "/proc/swaps"));
    std::vector<std::string> remarks;
    Refused refused = CheckSwap(profile_.swap(), areas_, limits_swap_, file, &remarks);
    if (refused) refused->cause = fmt::format("environment '{}': {}", profile_.name(), refused->cause);
    for (std::string& remark : remarks) group_.applied_.add_remarks(std::move(remark));
    return refused;
  }

  // Whether the limit is of swap, there is none, and nothing to limit it with.
  [[nodiscard]] bool IsMoot(const PlannedLimit& limit) const {
    return !limits_swap_ && (limit.kind == LimitKind::kSwap || limit.kind == LimitKind::kMemoryAndSwap);
  }

  [[nodiscard]] const std::vector<std::string>& DirectoriesOf(LimitKind kind) const {
    return directories_[static_cast<std::size_t>(ControllerOf(kind))];
  }

  Refused Set(const PlannedLimit& limit) {
    if (IsMoot(limit)) return std::nullopt;
    for (const ControlWrite& write : limit.writes) {
      const std::string file = File(DirectoriesOf(limit.kind).front(), write.file);
      const absl::StatusOr<base::Fd> fd = base::OpenFile(file, O_WRONLY);
      const absl::Status written = fd.ok() ? base::WriteAll(fd->get(), write.text) : fd.status();
      if (written.ok()) continue;
      if (limit.kind == LimitKind::kSwappiness) {
        unset_.push_back(limit.kind);
        group_.applied_.add_remarks(
            fmt::format("The profile's swappiness ({}) is not set: {}: {}.", write.text, file, Text(written)));
        return std::nullopt;
      }
      return EnvironmentRefusal{
          .cause = fmt::format(
              "{}, and the kernel refuses it: {}",
              Wants(fmt::format("{} of {}", LimitName(limit.kind), LimitText(limit.kind, limit.asked))), Text(written)),
          .place = fmt::format("{}: {}", file, write.text),
          .next_step = "choose a profile without that limit, or another device"};
    }
    return std::nullopt;
  }

  Refused ReadBack(const PlannedLimit& limit) {
    if (IsMoot(limit) || std::ranges::find(unset_, limit.kind) != unset_.end()) return std::nullopt;
    LimitReadback found;
    Refused refused = CheckLimit(limit, version_, disk_, profile_.name(), DirectoriesOf(limit.kind), &found);
    Keep(found);
    const auto bytes = static_cast<std::uint64_t>(found.tightest.value_or(0));
    if (limit.kind == LimitKind::kMemory) group_.applied_.set_memory_bytes(bytes);
    if (limit.kind == LimitKind::kSwap) group_.applied_.set_swap_bytes(bytes);
    // Of both together what memory does not take.
    if (limit.kind == LimitKind::kMemoryAndSwap) {
      group_.applied_.set_swap_bytes(bytes - std::min(bytes, group_.applied_.memory_bytes()));
    }
    if (!refused && limit.kind == LimitKind::kMemory) {
      refused = CheckHiddenMemory(profile_, version_, group_.memory_.directory());
    }
    return refused;
  }

  // An ancestor's threshold below the environment's memory slows it down long before its limit.
  Refused CheckThresholds() {
    if (version_ != kVersion2) return std::nullopt;
    LimitReadback found;
    const double asked =
        static_cast<double>(profile_.memory_high_bytes() > 0 ? profile_.memory_high_bytes() : profile_.memory_bytes());
    Refused refused = CheckAncestors(LimitKind::kMemoryHigh, asked, version_, disk_, profile_.name(),
                                     DirectoriesOf(LimitKind::kMemory), &found);
    if (profile_.memory_high_bytes() == 0) Keep(found);
    return refused;
  }

  void Keep(const LimitReadback& found) {
    for (const std::string& reading : found.readings) group_.applied_.add_readings(reading);
  }

  void Describe() {
    v1::AppliedEnvironment& applied = group_.applied_;
    applied.set_profile_name(profile_.name());
    applied.set_cgroup_version(static_cast<std::uint32_t>(version_));
    applied.set_cgroup(group_.location().memory_path);
    std::uint64_t device_swap = 0;
    for (const os::SwapArea& area : areas_) device_swap += area.size_bytes;
    applied.set_swap_bytes(std::min(applied.swap_bytes(), device_swap));
    for (std::string& missing : MissingIn(version_, profile_)) applied.add_remarks(std::move(missing));
    const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
    if (processors > 0 && profile_.cpus() > static_cast<double>(processors)) {
      applied.add_remarks(fmt::format("The profile has {} processors, the device {}.", profile_.cpus(), processors));
    }
    if (!os::IsTrueRoot(group_.location().memory_directories.back(), version_)) {
      applied.add_remarks(
          fmt::format("What limits the cgroups above {} is not visible from here (a container sees only its own).",
                      group_.location().memory_directories.back()));
    }
  }

  Refused DropPageCache() {
    if (profile_.page_cache() != v1::COLD) return std::nullopt;
    ::sync();  // what is not yet on the disk cannot be dropped
    const std::string file = root_ + "/proc/sys/vm/drop_caches";
    const absl::StatusOr<base::Fd> fd = base::OpenFile(file, O_WRONLY);
    const absl::Status written = fd.ok() ? base::WriteAll(fd->get(), "1") : fd.status();
    if (written.ok()) return std::nullopt;
    return EnvironmentRefusal{
        .cause = fmt::format("{}, and it may not be dropped: {}", Wants("a cold page cache"), Text(written)),
        .place = file,
        .next_step = "run the worker as root, or choose a profile with page_cache: AS_IS"};
  }

  [[nodiscard]] EnvironmentRefusal NoGroup(std::string_view what, const absl::Status& status) const {
    return {.cause = fmt::format("the environment '{}' needs {}: {}", profile_.name(), what, Text(status)),
            .place = home_.base().memory_directories.front(),
            .next_step = "run the worker as root, or as a service with Delegate=yes"};
  }
  [[nodiscard]] EnvironmentRefusal NoController(std::string_view name, const absl::Status& status) const {
    return {.cause = fmt::format("{}, and the agent's cgroup does not have it: {}",
                                 Wants(fmt::format("a limit of the {} controller", name)), Text(status)),
            .place = home_.base().memory_directories.front(),
            .next_step =
                "delegate that controller to the worker (for a systemd service: Delegate=yes), or choose a "
                "profile without that limit"};
  }

  CgroupHome& home_;
  const v1::EnvironmentProfile& profile_;
  const LimitedGroupOptions& options_;
  const int version_;
  LimitedGroup& group_;
  std::string root_;
  std::string disk_;
  // The group and its ancestors by controller, innermost first; empty where it has no part.
  std::array<std::vector<std::string>, 3> directories_;
  std::vector<os::SwapArea> areas_;
  bool limits_swap_ = false;
  std::vector<LimitKind> unset_;
};

std::optional<EnvironmentRefusal> LimitedGroup::Make(CgroupHome* home, const v1::EnvironmentProfile& profile,
                                                     const LimitedGroupOptions& options, LimitedGroup* group) {
  *group = LimitedGroup();
  if (home == nullptr) {
    return EnvironmentRefusal{
        .cause = fmt::format("the environment '{}' needs a cgroup, and this worker makes none", profile.name()),
        .place = "",
        .next_step = "run it with a worker of its own"};
  }
  if (Refused refused = home->WhyNoLimits()) {
    refused->cause = fmt::format("the environment '{}' cannot be set up: {}", profile.name(), refused->cause);
    return refused;
  }
  Refused refused = Maker(home, profile, options, group).Make();
  if (refused) *group = LimitedGroup();
  return refused;
}

LimitedGroup& LimitedGroup::operator=(LimitedGroup&& other) noexcept {
  // In the order of a destruction.
  memory_ = std::move(other.memory_);
  others_ = std::move(other.others_);
  keeper_ = std::move(other.keeper_);
  other_directories_ = std::move(other.other_directories_);
  applied_ = std::move(other.applied_);
  return *this;
}

absl::StatusOr<OwnGroup> LimitedGroup::MakeRunGroup() const {
  if (location().memory_version == kVersion2)
    BALLAST_RETURN_IF_ERROR(memory_.Write("cgroup.subtree_control", "+memory"));
  return MakeRunGroupBelow(location());
}

}  // namespace ballast::environment
