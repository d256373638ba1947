#include "common/limits/memory_check.h"

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/units.h"
#include "common/limits/limits.h"
#include "common/os/procfs.h"

namespace ballast::environment {
namespace {

std::string WantsMemory(const v1::EnvironmentProfile& profile) {
  return fmt::format("the environment '{}' wants {} of memory", profile.name(),
                     base::FormatBytes(profile.memory_bytes()));
}

}  // namespace

std::optional<EnvironmentRefusal> CheckMachineMemory(const v1::EnvironmentProfile& profile, const std::string& root) {
  const std::string content =
      base::ReadFile(root + (root.ends_with('/') ? "" : "/") + "proc/meminfo", 1U << 20U).value_or("");
  const os::MemInfo info = os::ParseMemInfo(content);
  if (!info.total || *info.total >= profile.memory_bytes()) return std::nullopt;
  return EnvironmentRefusal{.cause = fmt::format("{}, and the device has {}: it would be another, smaller machine",
                                                 WantsMemory(profile), base::FormatBytes(*info.total)),
                            .place = "/proc/meminfo: MemTotal",
                            .next_step = "choose a smaller profile, or a device with more memory"};
}

std::optional<EnvironmentRefusal> CheckHiddenMemory(const v1::EnvironmentProfile& profile, int version,
                                                    const std::string& directory) {
  if (version != 1) return std::nullopt;
  constexpr std::string_view kKey = "hierarchical_memory_limit";
  const std::string file = directory + "/memory.stat";
  const std::optional<std::uint64_t> limit = os::FindKeyedNumber(base::ReadFile(file, 1U << 20U).value_or(""), kKey);
  const auto asked = static_cast<double>(profile.memory_bytes());
  if (!limit || static_cast<double>(*limit) + ToleranceOf(LimitKind::kMemory, asked) >= asked) return std::nullopt;
  return EnvironmentRefusal{
      .cause = fmt::format("{}, and a cgroup above it allows only {}", WantsMemory(profile), base::FormatBytes(*limit)),
      .place = fmt::format("{}: {} {}", file, kKey, *limit),
      .next_step = "raise the container's limit, or choose a smaller profile"};
}

}  // namespace ballast::environment
