#include "cli/container_limits.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/os/cgroup.h"

namespace ballast::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kCpuTolerance = 0.01;
constexpr std::size_t kMaxProcBytes = 4U << 20U;

// A line's worth of a file; nothing where it cannot be read.
std::optional<std::string> ReadLine(const fs::path& file) {
  const auto content = base::ReadFile(file, kMaxProcBytes);
  if (!content.ok()) return std::nullopt;
  return content->substr(0, content->find('\n'));
}

std::optional<double> ParseNumber(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct MachineSwap {
  std::uint64_t bytes = 0;
  std::uint64_t zram_bytes = 0;  // of these
};

MachineSwap ReadMachineSwap(const std::string& root) {
  MachineSwap swap;
  const auto content = base::ReadFile(fs::path(root) / "proc/swaps", kMaxProcBytes);
  if (!content.ok()) return swap;  // a kernel without swap
  std::istringstream lines(*content);
  std::string line;
  std::getline(lines, line);  // headings
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name;
    std::string type;
    std::uint64_t size_kib = 0;
    if (!(words >> name >> type >> size_kib)) continue;
    swap.bytes += size_kib * 1024;
    if (name.find("/zram") != std::string::npos) swap.zram_bytes += size_kib * 1024;
  }
  return swap;
}

// The smallest limit of a file along the ancestry; notes each one that is a limit.
std::optional<std::uint64_t> Tightest(const std::vector<std::string>& directories, std::string_view file, bool* exists,
                                      ContainerReading* reading) {
  std::optional<std::uint64_t> tightest;
  for (const std::string& directory : directories) {
    const fs::path path = fs::path(directory) / file;
    const auto line = ReadLine(path);
    if (!line) continue;
    *exists = true;
    const auto limit = os::ParseMemoryLimit(*line);
    if (!limit) continue;
    reading->readings.push_back(fmt::format("{}: {}", path.string(), *line));
    if (!tightest || *limit < *tightest) tightest = limit;
  }
  return tightest;
}

void ReadSwap(const os::CgroupLocation& location, ContainerReading* reading) {
  const os::MemoryCgroupFiles& files = os::MemoryFilesOf(location.memory_version);
  const auto limit = Tightest(location.memory_directories, files.swap_limit, &reading->swap_limited, reading);
  if (!limit) return;
  if (!files.swap_includes_memory) {
    reading->swap_bytes = limit;
  } else if (reading->memory_bytes) {
    reading->swap_bytes = *limit > *reading->memory_bytes ? *limit - *reading->memory_bytes : 0;
  }
}

// The cgroup of a controller of version 1. Its mount point is named after its controllers.
std::optional<std::string> Version1Directory(const std::string& root, pid_t pid, const std::string& controller) {
  const auto memberships = base::ReadFile(fmt::format("{}/proc/{}/cgroup", root, pid), kMaxProcBytes);
  const auto mounts = base::ReadFile(fmt::format("{}/proc/self/mountinfo", root), kMaxProcBytes);
  if (!memberships.ok() || !mounts.ok()) return std::nullopt;
  for (const os::CgroupMembership& membership : os::ParseCgroupMemberships(*memberships)) {
    if (std::ranges::find(membership.controllers, controller) == membership.controllers.end()) continue;
    for (os::CgroupMount& mount : os::ParseCgroupMounts(*mounts)) {
      std::istringstream names(fs::path(mount.mount_point).filename().string());
      bool named = false;
      for (std::string name; std::getline(names, name, ',');) named = named || name == controller;
      if (mount.version != 1 || !named) continue;
      mount.mount_point = root + mount.mount_point;
      return os::CgroupDirectory(mount, membership.path);
    }
  }
  return std::nullopt;
}

void ReadCpus(const std::string& root, pid_t pid, ContainerReading* reading) {
  std::optional<double> quota;
  std::optional<double> period;
  if (reading->cgroup_version == 2) {
    const fs::path path = fs::path(reading->directory) / "cpu.max";
    const auto line = ReadLine(path);
    if (!line) return;
    reading->readings.push_back(fmt::format("{}: {}", path.string(), *line));
    const std::size_t blank = line->find(' ');
    if (blank == std::string::npos) return;
    quota = ParseNumber(std::string_view(*line).substr(0, blank));
    period = ParseNumber(std::string_view(*line).substr(blank + 1));
  } else if (const auto directory = Version1Directory(root, pid, "cpu")) {
    const fs::path path = fs::path(*directory) / "cpu.cfs_quota_us";
    const auto line = ReadLine(path);
    if (!line) return;
    reading->readings.push_back(fmt::format("{}: {}", path.string(), *line));
    quota = ParseNumber(*line);
    period = ParseNumber(ReadLine(fs::path(*directory) / "cpu.cfs_period_us").value_or(""));
  }
  if (quota && period && *quota > 0 && *period > 0) reading->cpus = *quota / *period;
}

absl::Status Refused(const std::string& what, const ContainerReading& reading) {
  std::string readings;
  for (const std::string& line : reading.readings) readings += (readings.empty() ? "" : "\n") + line;
  return WithDetail(
      WithNextStep(absl::FailedPreconditionError(what),
                   "a kernel, or a group of containers, that can keep to the profile; or another profile"),
      readings);
}

std::string LimitText(const std::optional<std::uint64_t>& bytes) {
  return bytes ? fmt::format("{} ({} bytes)", base::FormatBytes(*bytes), *bytes) : "no limit";
}

bool SameBytes(const std::optional<std::uint64_t>& read, std::uint64_t wanted) {
  if (!read) return false;
  const std::uint64_t difference = *read > wanted ? *read - wanted : wanted - *read;
  return difference <= static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

absl::StatusOr<ContainerReading> ReadContainerLimits(pid_t pid, const std::string& container_id,
                                                     const std::string& root) {
  BALLAST_ASSIGN_OR_RETURN(const os::CgroupLocation location, os::LocateCgroups(root, std::to_string(pid)));
  if (location.memory_version == 0) {
    return absl::FailedPreconditionError(
        "this kernel runs without memory cgroups: a container has no memory limit here, whatever the engine says");
  }
  // Another process that has the number by chance is not in a cgroup of this name.
  if (location.memory_directories.empty() || location.memory_path.find(container_id) == std::string::npos ||
      location.memory_directories.front().find(container_id) == std::string::npos) {
    return absl::NotFoundError(fmt::format("process {} is not in a cgroup of the container", pid));
  }
  ContainerReading reading;
  reading.cgroup_version = location.memory_version;
  reading.directory = location.memory_directories.front();
  bool exists = false;
  reading.memory_bytes =
      Tightest(location.memory_directories, os::MemoryFilesOf(location.memory_version).limit, &exists, &reading);
  ReadSwap(location, &reading);
  reading.machine_swap_bytes = ReadMachineSwap(root).bytes;
  ReadCpus(root == "/" ? "" : root, pid, &reading);
  return reading;
}

absl::Status CheckLimits(const v1::EnvironmentProfile& profile, const ContainerReading& reading) {
  if (!SameBytes(reading.memory_bytes, profile.memory_bytes())) {
    return Refused(fmt::format("the container does not have the memory of {}: {} was asked for, the kernel has {}",
                               profile.name(), LimitText(profile.memory_bytes()), LimitText(reading.memory_bytes)),
                   reading);
  }
  // Without swap on the machine there is none to limit; CheckSwapOfMachine has seen to what there must be.
  if (!reading.swap_limited && reading.machine_swap_bytes > 0) {
    return Refused(fmt::format("the swap of {} cannot be kept: this kernel does not limit swap, and the machine has {}",
                               profile.name(), base::FormatBytes(reading.machine_swap_bytes)),
                   reading);
  }
  if (reading.swap_limited && !SameBytes(reading.swap_bytes, profile.swap().size_bytes())) {
    return Refused(fmt::format("the container does not have the swap of {}: {} was asked for, the kernel has {}",
                               profile.name(), LimitText(profile.swap().size_bytes()), LimitText(reading.swap_bytes)),
                   reading);
  }
  if (profile.cpus() > 0 &&
      (!reading.cpus || std::abs(*reading.cpus - profile.cpus()) > kCpuTolerance * profile.cpus())) {
    return Refused(
        fmt::format("the container does not have the processors of {}: {:g} were asked for, the kernel has {}",
                    profile.name(), profile.cpus(), reading.cpus ? fmt::format("{:g}", *reading.cpus) : "no limit"),
        reading);
  }
  return absl::OkStatus();
}

absl::Status CheckSwapOfMachine(const v1::EnvironmentProfile& profile, const std::string& root) {
  if (profile.swap().size_bytes() == 0) return absl::OkStatus();
  const bool zram_only = profile.swap().kind() == v1::SwapLimit::ZRAM;
  const MachineSwap machine = ReadMachineSwap(root);
  const std::uint64_t bytes = zram_only ? machine.zram_bytes : machine.bytes;
  // A swap area loses its first page to its own header.
  const std::uint64_t page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (bytes + page >= profile.swap().size_bytes()) return absl::OkStatus();
  return WithNextStep(
      absl::FailedPreconditionError(fmt::format(
          "{} wants {} of {}, and this machine has {}", profile.name(), base::FormatBytes(profile.swap().size_bytes()),
          zram_only ? "compressed swap (zram)" : "swap", bytes == 0 ? "none" : base::FormatBytes(bytes))),
      zram_only ? "set up zram, or take a profile without it"
                : "add swap (mkswap, swapon), or take a profile without it");
}

std::uint64_t ParseOomKills(std::string_view content) {
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find('\n'));
    content.remove_prefix(line.size() == content.size() ? line.size() : line.size() + 1);
    constexpr std::string_view kKey = "oom_kill ";
    if (!line.starts_with(kKey)) continue;
    std::uint64_t kills = 0;
    std::from_chars(line.data() + kKey.size(), line.data() + line.size(), kills);
    return kills;
  }
  return 0;
}

}  // namespace ballast::cli
