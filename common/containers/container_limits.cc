#include "common/containers/container_limits.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/limits/limit_readback.h"
#include "common/limits/limits.h"
#include "common/limits/memory_check.h"
#include "common/limits/swap_check.h"
#include "common/os/procfs.h"
#include "common/os/swap_areas.h"

namespace ballast::containers {
namespace {

using environment::Controller;
using environment::EnvironmentRefusal;
using environment::LimitKind;
using environment::PlannedLimit;
using Refused = std::optional<EnvironmentRefusal>;

constexpr int kVersion1 = 1;
constexpr std::size_t kMaxProcBytes = 4U << 20U;

std::string Under(const std::string& root, std::string_view path) {
  return root + (root.ends_with('/') ? "" : "/") + std::string(path);
}

std::vector<os::SwapArea> SwapAreas(const std::string& root) {
  return os::ParseSwapAreas(base::ReadFile(Under(root, "proc/swaps"), kMaxProcBytes).value_or(""));
}

// `MAJOR:MINOR` of a device, as control files name it; empty where it is none.
std::string DeviceNumber(const std::string& device) {
  struct stat status {};
  if (::stat(device.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return "";
  return fmt::format("{}:{}", major(status.st_rdev), minor(status.st_rdev));
}

// From the outermost cgroup of the container on: that is the one which the engine limits. Its runtime, or the container
// itself, may have made others in it.
std::vector<std::string> FromContainersOwn(std::vector<std::string> directories, const std::string& container_id) {
  const auto named = [&container_id](const std::string& directory) {
    return std::filesystem::path(directory).filename().string().find(container_id) != std::string::npos;
  };
  const auto own = std::find_if(directories.rbegin(), directories.rend(), named);
  if (own != directories.rend()) directories.erase(directories.begin(), std::prev(own.base()));
  return directories;
}

class Checker {
 public:
  Checker(const v1::EnvironmentProfile& profile, const profiles::ContainerHost& host, const ContainerPlace& place,
          const std::string& root, v1::AppliedEnvironment* applied)
      : profile_(profile),
        host_(host),
        place_(place),
        root_(root),
        version_(place.location.memory_version),
        applied_(*applied) {}

  Refused Check() {
    memory_ = FromContainersOwn(place_.location.memory_directories, place_.container_id);
    disk_ = DeviceNumber(host_.io_device);
    applied_.set_profile_name(profile_.name());
    applied_.set_cgroup_version(static_cast<std::uint32_t>(version_));
    applied_.set_cgroup(place_.location.memory_path);
    if (Refused refused = CheckSwapOfProfile()) return refused;
    for (const PlannedLimit& limit : environment::PlanLimits(profile_, version_, disk_)) {
      if (HasNoFlag(limit.kind) || IsMoot(limit.kind)) continue;
      if (Refused refused = ReadBack(limit)) return refused;
    }
    if (Refused refused = environment::CheckHiddenMemory(profile_, version_, memory_.front())) return refused;
    return CheckThresholds();
  }

 private:
  // Whether no flag of the engine asks for it: profiles::LimitsOf has a remark then.
  [[nodiscard]] bool HasNoFlag(LimitKind kind) const {
    return (kind == LimitKind::kMemoryHigh && host_.engine == profiles::Engine::kDocker) ||
           (kind == LimitKind::kSwappiness && profile_.swappiness() > profiles::kMaxContainerSwappiness);
  }
  // Whether the limit is of swap, there is none, and nothing to limit it with.
  [[nodiscard]] bool IsMoot(LimitKind kind) const {
    return !limits_swap_ && (kind == LimitKind::kSwap || kind == LimitKind::kMemoryAndSwap);
  }
  // What an engine converts by rules of its own, or may leave out, without that the environment becomes another one.
  [[nodiscard]] bool MayDiffer(LimitKind kind) const {
    return kind == LimitKind::kSwappiness ||
           (kind == LimitKind::kProcessorWeight && version_ != kVersion1 && host_.engine == profiles::Engine::kDocker);
  }

  Refused CheckSwapOfProfile() {
    const std::string file = fmt::format("{}/{}", memory_.front(), os::MemoryFilesOf(version_).swap_limit);
    limits_swap_ = ::access(file.c_str(), F_OK) == 0;
    std::vector<std::string> remarks;
    Refused refused = environment::CheckSwap(profile_.swap(), SwapAreas(root_), limits_swap_, file, &remarks);
    if (refused) refused->cause = fmt::format("environment '{}': {}", profile_.name(), refused->cause);
    for (std::string& remark : remarks) applied_.add_remarks(std::move(remark));
    return refused;
  }

  [[nodiscard]] std::vector<std::string> DirectoriesOf(LimitKind kind) const {
    const Controller controller = environment::ControllerOf(kind);
    if (version_ != kVersion1 || controller == Controller::kMemory) return memory_;
    const auto place =
        os::LocateVersion1(environment::ControllerName(controller, version_), root_, std::to_string(place_.pid));
    if (!place) return {};
    return FromContainersOwn(place->directories, place_.container_id);
  }

  Refused ReadBack(const PlannedLimit& limit) {
    const std::vector<std::string> directories = DirectoriesOf(limit.kind);
    if (directories.empty()) {
      return EnvironmentRefusal{
          .cause = fmt::format("the environment '{}' wants {} of {}, and no cgroup hierarchy has that controller",
                               profile_.name(), environment::LimitName(limit.kind),
                               environment::LimitText(limit.kind, limit.asked)),
          .place = fmt::format("/proc/{}/cgroup", place_.pid),
          .next_step = "choose a profile without that limit, or another device"};
    }
    environment::LimitReadback found;
    Refused refused = environment::CheckLimit(limit, version_, disk_, profile_.name(), directories, &found);
    Keep(found);
    const auto bytes = static_cast<std::uint64_t>(found.tightest.value_or(0));
    if (limit.kind == LimitKind::kMemory) applied_.set_memory_bytes(bytes);
    if (limit.kind == LimitKind::kSwap) applied_.set_swap_bytes(bytes);
    if (limit.kind == LimitKind::kMemoryAndSwap) {
      applied_.set_swap_bytes(bytes - std::min(bytes, applied_.memory_bytes()));
    }
    if (refused && MayDiffer(limit.kind)) {
      applied_.add_remarks(fmt::format("The {} of the profile is not set as asked: {} (at {}).",
                                       environment::LimitName(limit.kind), refused->cause, refused->place));
      return std::nullopt;
    }
    return refused;
  }

  // An ancestor's threshold below the environment's memory slows it down long before its limit.
  Refused CheckThresholds() {
    if (version_ == kVersion1) return std::nullopt;
    environment::LimitReadback found;
    const double asked =
        static_cast<double>(profile_.memory_high_bytes() > 0 ? profile_.memory_high_bytes() : profile_.memory_bytes());
    Refused refused =
        environment::CheckAncestors(LimitKind::kMemoryHigh, asked, version_, disk_, profile_.name(), memory_, &found);
    if (profile_.memory_high_bytes() == 0) Keep(found);
    return refused;
  }

  void Keep(const environment::LimitReadback& found) {
    for (const std::string& reading : found.readings) applied_.add_readings(reading);
  }

  const v1::EnvironmentProfile& profile_;
  const profiles::ContainerHost& host_;
  const ContainerPlace& place_;
  const std::string& root_;
  const int version_;
  v1::AppliedEnvironment& applied_;
  std::vector<std::string> memory_;
  std::string disk_;
  bool limits_swap_ = false;
};

}  // namespace

absl::StatusOr<ContainerPlace> LocateContainer(pid_t pid, const std::string& container_id, const std::string& root) {
  ContainerPlace place = {.pid = pid, .container_id = container_id, .location = {}};
  BALLAST_ASSIGN_OR_RETURN(place.location, os::LocateCgroups(root, std::to_string(pid)));
  const os::CgroupLocation& location = place.location;
  if (location.memory_version == 0) {
    return absl::FailedPreconditionError(
        "this kernel runs without memory cgroups: a container has no memory limit here, whatever the engine says");
  }
  // Another process that has the number by chance is not in a cgroup of this name.
  if (location.memory_directories.empty() || location.memory_path.find(container_id) == std::string::npos ||
      location.memory_directories.front().find(container_id) == std::string::npos) {
    return absl::NotFoundError(fmt::format("process {} is not in a cgroup of the container", pid));
  }
  return place;
}

std::optional<EnvironmentRefusal> CheckMachine(const v1::EnvironmentProfile& profile, const std::string& root) {
  if (Refused refused = environment::CheckMachineMemory(profile, root)) return refused;
  // Whether it can be limited the container's cgroup tells, when there is one; and so the remarks are of then.
  std::vector<std::string> remarks;
  Refused refused = environment::CheckSwap(profile.swap(), SwapAreas(root), /*limitable=*/true, "", &remarks);
  if (refused) refused->cause = fmt::format("environment '{}': {}", profile.name(), refused->cause);
  return refused;
}

std::optional<EnvironmentRefusal> CheckContainer(const v1::EnvironmentProfile& profile,
                                                 const profiles::ContainerHost& host, const ContainerPlace& place,
                                                 const std::string& root, v1::AppliedEnvironment* applied) {
  return Checker(profile, host, place, root, applied).Check();
}

std::uint64_t ParseOomKills(std::string_view content) {
  return os::FindKeyedNumber(content, "oom_kill").value_or(0);
}

}  // namespace ballast::containers
