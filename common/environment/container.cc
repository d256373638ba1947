#include "common/environment/container.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::profiles {
namespace {

constexpr std::uint64_t kMib = 1U << 20U;
constexpr double kUsualWeight = 100;
constexpr double kUsualShares = 1024;
// Shares are from 2 to 262144 and weights from 1 to 10000; runtimes turn the former into the latter in proportion.
constexpr double kFewestShares = 2;
constexpr double kSharesAWeight = 262142.0 / 9999.0;

// As people write sizes there: `3800m`; bytes where that would not be exact.
std::string SizeText(std::uint64_t bytes) {
  return bytes % kMib == 0 ? fmt::format("{}m", bytes / kMib) : fmt::format("{}b", bytes);
}

void AddMemory(const v1::EnvironmentProfile& profile, const ContainerHost& host, ContainerLimits* limits) {
  limits->flags.push_back("--memory=" + SizeText(profile.memory_bytes()));
  limits->flags.push_back("--memory-swap=" + SizeText(MemoryAndSwapBytes(profile)));
  if (profile.swap().kind() == v1::SwapLimit::ZRAM) {
    limits->remarks.push_back("that its swap is compressed memory is up to the machine: no flag asks for it");
  }
  if (profile.has_swappiness()) {
    if (host.cgroup_version != 1) {
      limits->remarks.push_back("swappiness is the machine's own: cgroups of version 2 have none for a group");
    } else if (profile.swappiness() > kMaxContainerSwappiness) {
      limits->remarks.push_back(fmt::format("swappiness {} is more than containers take (100); the machine's own stays",
                                            profile.swappiness()));
    } else {
      limits->flags.push_back(fmt::format("--memory-swappiness={}", profile.swappiness()));
    }
  }
  if (profile.memory_high_bytes() == 0) return;
  if (host.cgroup_version == 1) {
    limits->remarks.push_back("memory_high_bytes is left out: cgroups of version 1 have no such threshold");
  } else if (host.engine == Engine::kPodman) {
    limits->flags.push_back(fmt::format("--cgroup-conf=memory.high={}", profile.memory_high_bytes()));
  } else {
    // --memory-reservation would be memory.low, which protects the group instead of slowing it down.
    limits->remarks.push_back("memory_high_bytes is left out: docker has no flag for memory.high");
  }
}

void AddProcessors(const v1::EnvironmentProfile& profile, const ContainerHost& host, ContainerLimits* limits) {
  if (profile.cpus() > 0) {
    // Finer than that is below what the kernel's quota can say, whose period is 100 ms there.
    limits->flags.push_back(fmt::format("--cpus={:g}", std::max(0.01, std::round(profile.cpus() * 1e5) / 1e5)));
  }
  if (profile.cpu_weight() == 0) return;
  if (host.cgroup_version != 1 && host.engine == Engine::kPodman) {
    limits->flags.push_back(fmt::format("--cgroup-conf=cpu.weight={}", profile.cpu_weight()));
    return;
  }
  const double shares = host.cgroup_version == 1
                            ? std::max(kFewestShares, std::round(profile.cpu_weight() * kUsualShares / kUsualWeight))
                            : kFewestShares + std::ceil((profile.cpu_weight() - 1) * kSharesAWeight);
  limits->flags.push_back(fmt::format("--cpu-shares={:.0f}", shares));
}

absl::Status AddDisk(const v1::EnvironmentProfile& profile, const ContainerHost& host, ContainerLimits* limits) {
  if (profile.io_read_bytes_per_second() == 0 && profile.io_write_bytes_per_second() == 0) return absl::OkStatus();
  if (host.io_device.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "profile {} limits the speed of a disk, and a container has to be told which; give the device, as /dev/sda",
        profile.name()));
  }
  const auto add = [&](const char* flag, std::uint64_t bytes) {
    if (bytes > 0) limits->flags.push_back(fmt::format("{}={}:{}", flag, host.io_device, bytes));
  };
  add("--device-read-bps", profile.io_read_bytes_per_second());
  add("--device-write-bps", profile.io_write_bytes_per_second());
  if (host.cgroup_version == 1 && profile.io_write_bytes_per_second() > 0) {
    limits->remarks.emplace_back(
        "writing is slowed down where it is direct or synchronous; cgroups of version 1 do not slow down what is "
        "written "
        "back later");
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view EngineName(Engine engine) {
  return engine == Engine::kDocker ? "docker" : "podman";
}

absl::StatusOr<Engine> ParseEngine(const std::string& text) {
  if (text == EngineName(Engine::kDocker)) return Engine::kDocker;
  if (text == EngineName(Engine::kPodman)) return Engine::kPodman;
  const std::string near = config::DidYouMean(text, {"docker", "podman"});
  return absl::InvalidArgumentError(
      fmt::format("{} is no container engine{}", base::Quoted(text), near.empty() ? "" : "; " + near));
}

std::uint64_t MemoryAndSwapBytes(const v1::EnvironmentProfile& profile) {
  return profile.memory_bytes() + profile.swap().size_bytes();
}

absl::StatusOr<ContainerLimits> LimitsOf(const v1::EnvironmentProfile& profile, const ContainerHost& host) {
  ContainerLimits limits;
  AddMemory(profile, host, &limits);
  AddProcessors(profile, host, &limits);
  BALLAST_RETURN_IF_ERROR(AddDisk(profile, host, &limits));
  if (profile.page_cache() == v1::COLD) {
    limits.remarks.push_back("the page cache is as it is: no flag drops it");
  }
  return limits;
}

absl::StatusOr<std::vector<std::string>> RunCommand(const v1::EnvironmentProfile& profile, const ContainerHost& host,
                                                    const std::string& image, const std::vector<std::string>& command) {
  BALLAST_ASSIGN_OR_RETURN(const ContainerLimits limits, LimitsOf(profile, host));
  std::vector<std::string> words = {std::string(EngineName(host.engine)), "run", "--rm"};
  words.insert(words.end(), limits.flags.begin(), limits.flags.end());
  words.push_back(image);
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

}  // namespace ballast::profiles
