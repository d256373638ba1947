#include "common/limits/limits.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "common/base/units.h"
#include "common/os/cgroup.h"
#include "common/os/line_scanner.h"

namespace ballast::environment {
namespace {

constexpr int kVersion1 = 1;
// The kernel takes quotas of a millisecond and more, and periods of at most a second.
constexpr std::uint64_t kPeriodUs = 100'000;
constexpr std::uint64_t kLongPeriodUs = 1'000'000;
constexpr double kLeastOfUsualPeriod = 0.01;
// Weight and shares of a group that nobody gave any.
constexpr double kUsualWeight = 100;
constexpr double kUsualShares = 1024;
constexpr double kLeastShares = 2;

std::string Number(double value) {
  return fmt::format("{}", static_cast<std::uint64_t>(std::llround(value)));
}

PlannedLimit OneFile(LimitKind kind, int version, double asked, std::string text) {
  return {.kind = kind, .asked = asked, .writes = {{std::string(LimitFilesOf(kind, version)[0]), std::move(text)}}};
}

PlannedLimit Bytes(LimitKind kind, int version, std::uint64_t asked) {
  return OneFile(kind, version, static_cast<double>(asked), std::to_string(asked));
}

PlannedLimit Processors(int version, double asked) {
  const std::uint64_t period = asked < kLeastOfUsualPeriod ? kLongPeriodUs : kPeriodUs;
  const std::string quota = Number(asked * static_cast<double>(period));
  if (version != kVersion1) return OneFile(LimitKind::kProcessors, version, asked, fmt::format("{} {}", quota, period));
  return {.kind = LimitKind::kProcessors,
          .asked = asked,
          .writes = {{"cpu.cfs_period_us", std::to_string(period)}, {"cpu.cfs_quota_us", quota}}};
}

PlannedLimit Disk(LimitKind kind, int version, std::uint64_t asked, std::string_view disk) {
  const char* const key = kind == LimitKind::kDiskRead ? "rbps" : "wbps";
  return OneFile(kind, version, static_cast<double>(asked),
                 version == kVersion1 ? fmt::format("{} {}", disk, asked) : fmt::format("{} {}={}", disk, key, asked));
}

absl::Status NoSense(std::string_view content) {
  return absl::InvalidArgumentError(
      fmt::format("'{}' is no limit", std::string(content.substr(0, content.find('\n')))));
}

// A content of one word; the second is absent.
std::optional<std::string_view> OnlyWord(std::string_view content) {
  std::string_view word;
  std::string_view more;
  if (!os::NextWord(&content, &word) || os::NextWord(&content, &more)) return std::nullopt;
  return word;
}

absl::StatusOr<std::optional<double>> ParseBytes(std::string_view content) {
  const std::optional<std::string_view> word = OnlyWord(content);
  if (!word || (*word != "max" && !os::ToNumber<std::uint64_t>(*word))) return NoSense(content);
  const std::optional<std::uint64_t> limit = os::ParseMemoryLimit(*word);
  if (!limit) return std::optional<double>();
  return static_cast<double>(*limit);
}

absl::StatusOr<std::optional<double>> ParseNumber(std::string_view content) {
  const std::optional<std::string_view> word = OnlyWord(content);
  const std::optional<std::uint64_t> number = word ? os::ToNumber<std::uint64_t>(*word) : std::nullopt;
  if (!number) return NoSense(content);
  return static_cast<double>(*number);
}

// `QUOTA PERIOD`, where no quota is `max` or -1.
absl::StatusOr<std::optional<double>> ParseQuota(std::string_view content) {
  std::string_view rest = content;
  std::string_view quota;
  if (!os::NextWord(&rest, &quota)) return NoSense(content);
  const std::optional<std::uint64_t> period = os::NextNumber<std::uint64_t>(&rest);
  if (!period || *period == 0) return NoSense(content);
  if (quota == "max" || quota == "-1") return std::optional<double>();
  const std::optional<std::uint64_t> number = os::ToNumber<std::uint64_t>(quota);
  if (!number) return NoSense(content);
  return static_cast<double>(*number) / static_cast<double>(*period);
}

// A line a disk. A disk without a line has no limit.
absl::StatusOr<std::optional<double>> ParseDisk(LimitKind kind, int version, std::string_view content,
                                                std::string_view disk) {
  const std::string_view key = kind == LimitKind::kDiskRead ? "rbps=" : "wbps=";
  std::string_view line;
  while (os::NextLine(&content, &line)) {
    const std::string_view whole = line;
    std::string_view word;
    if (!os::NextWord(&line, &word) || word != disk) continue;
    while (os::NextWord(&line, &word)) {
      if (version != kVersion1) {
        if (!word.starts_with(key)) continue;
        word.remove_prefix(key.size());
      }
      if (word == "max") return std::optional<double>();
      const std::optional<std::uint64_t> number = os::ToNumber<std::uint64_t>(word);
      if (!number) return NoSense(whole);
      return static_cast<double>(*number);
    }
    return NoSense(whole);
  }
  return std::optional<double>();
}

}  // namespace

std::vector<PlannedLimit> PlanLimits(const v1::EnvironmentProfile& profile, int version, std::string_view disk) {
  const bool v1 = version == kVersion1;
  const std::uint64_t swap = profile.swap().size_bytes();
  const bool swaps = profile.swap().kind() == v1::SwapLimit::DEVICE || profile.swap().kind() == v1::SwapLimit::ZRAM;
  const std::uint64_t swap_bytes = swaps ? swap : 0;
  std::vector<PlannedLimit> limits;
  limits.push_back(Bytes(LimitKind::kMemory, version, profile.memory_bytes()));
  if (v1) {
    // Never below the limit of memory alone, so it comes after that.
    limits.push_back(Bytes(LimitKind::kMemoryAndSwap, version, profile.memory_bytes() + swap_bytes));
    if (profile.has_swappiness()) limits.push_back(Bytes(LimitKind::kSwappiness, version, profile.swappiness()));
  } else {
    limits.push_back(Bytes(LimitKind::kSwap, version, swap_bytes));
    if (profile.memory_high_bytes() > 0)
      limits.push_back(Bytes(LimitKind::kMemoryHigh, version, profile.memory_high_bytes()));
  }
  if (profile.cpus() > 0) limits.push_back(Processors(version, profile.cpus()));
  if (profile.cpu_weight() > 0) {
    const double weight = v1 ? std::max(kLeastShares, profile.cpu_weight() * kUsualShares / kUsualWeight)
                             : static_cast<double>(profile.cpu_weight());
    limits.push_back(OneFile(LimitKind::kProcessorWeight, version, std::round(weight), Number(weight)));
  }
  if (profile.io_read_bytes_per_second() > 0)
    limits.push_back(Disk(LimitKind::kDiskRead, version, profile.io_read_bytes_per_second(), disk));
  if (profile.io_write_bytes_per_second() > 0)
    limits.push_back(Disk(LimitKind::kDiskWrite, version, profile.io_write_bytes_per_second(), disk));
  return limits;
}

std::vector<std::string> MissingIn(int version, const v1::EnvironmentProfile& profile) {
  std::vector<std::string> missing;
  if (version == kVersion1) {
    if (profile.memory_high_bytes() > 0) {
      missing.push_back(
          fmt::format("The profile's memory_high_bytes ({}) is not set: cgroups of version 1 have no such threshold.",
                      base::FormatBytes(profile.memory_high_bytes())));
    }
    if (profile.io_write_bytes_per_second() > 0) {
      missing.emplace_back(
          "cgroups of version 1 slow down direct and synchronous writes only; what is written back from the page cache "
          "later is not slowed down.");
    }
  } else if (profile.has_swappiness()) {
    missing.push_back(fmt::format(
        "The profile's swappiness ({}) is not set: cgroups of version 2 have the device's own.", profile.swappiness()));
  }
  return missing;
}

Controller ControllerOf(LimitKind kind) {
  switch (kind) {
    case LimitKind::kProcessors:
    case LimitKind::kProcessorWeight:
      return Controller::kCpu;
    case LimitKind::kDiskRead:
    case LimitKind::kDiskWrite:
      return Controller::kIo;
    default:
      return Controller::kMemory;
  }
}

std::string_view ControllerName(Controller controller, int version) {
  switch (controller) {
    case Controller::kCpu:
      return "cpu";
    case Controller::kIo:
      return version == kVersion1 ? "blkio" : "io";
    case Controller::kMemory:
      break;
  }
  return "memory";
}

std::vector<std::string_view> LimitFilesOf(LimitKind kind, int version) {
  const bool v1 = version == kVersion1;
  switch (kind) {
    case LimitKind::kMemory:
      return {os::MemoryFilesOf(version).limit};
    case LimitKind::kMemoryHigh:
      return {"memory.high"};
    case LimitKind::kSwap:
    case LimitKind::kMemoryAndSwap:
      return {os::MemoryFilesOf(version).swap_limit};
    case LimitKind::kSwappiness:
      return {"memory.swappiness"};
    case LimitKind::kProcessors:
      if (v1) return {"cpu.cfs_quota_us", "cpu.cfs_period_us"};
      return {"cpu.max"};
    case LimitKind::kProcessorWeight:
      return {v1 ? "cpu.shares" : "cpu.weight"};
    case LimitKind::kDiskRead:
      return {v1 ? "blkio.throttle.read_bps_device" : "io.max"};
    case LimitKind::kDiskWrite:
      return {v1 ? "blkio.throttle.write_bps_device" : "io.max"};
  }
  return {};
}

absl::StatusOr<std::optional<double>> ParseLimit(LimitKind kind, int version, const std::vector<std::string>& contents,
                                                 std::string_view disk) {
  switch (kind) {
    case LimitKind::kMemory:
    case LimitKind::kMemoryHigh:
    case LimitKind::kSwap:
    case LimitKind::kMemoryAndSwap:
      return ParseBytes(contents[0]);
    case LimitKind::kSwappiness:
    case LimitKind::kProcessorWeight:
      return ParseNumber(contents[0]);
    case LimitKind::kProcessors:
      return ParseQuota(contents.size() > 1 ? fmt::format("{} {}", contents[0], contents[1]) : contents[0]);
    case LimitKind::kDiskRead:
    case LimitKind::kDiskWrite:
      return ParseDisk(kind, version, contents[0], disk);
  }
  return NoSense(contents[0]);
}

bool HoldsForDescendants(LimitKind kind) {
  return kind != LimitKind::kProcessorWeight && kind != LimitKind::kSwappiness;
}

double ToleranceOf(LimitKind kind, double asked) {
  switch (ControllerOf(kind)) {
    case Controller::kMemory:
      return kind == LimitKind::kSwappiness ? 0 : static_cast<double>(::sysconf(_SC_PAGESIZE));
    case Controller::kCpu:
      return kind == LimitKind::kProcessors ? asked / 1000 : 0;  // quotas are whole microseconds
    case Controller::kIo:
      return 0;
  }
  return 0;
}

std::string_view LimitName(LimitKind kind) {
  switch (kind) {
    case LimitKind::kMemory:
      return "memory";
    case LimitKind::kMemoryHigh:
      return "the threshold of memory (memory_high_bytes)";
    case LimitKind::kSwap:
      return "swap";
    case LimitKind::kMemoryAndSwap:
      return "memory and swap together";
    case LimitKind::kSwappiness:
      return "swappiness";
    case LimitKind::kProcessors:
      return "processors";
    case LimitKind::kProcessorWeight:
      return "weight of the processors";
    case LimitKind::kDiskRead:
      return "reading from the disk";
    case LimitKind::kDiskWrite:
      return "writing to the disk";
  }
  return "";
}

std::string LimitText(LimitKind kind, const std::optional<double>& value) {
  if (!value) return "no limit";
  switch (kind) {
    case LimitKind::kProcessors:
      return fmt::format("{:.3g} processor{}", *value, *value == 1 ? "" : "s");
    case LimitKind::kSwappiness:
    case LimitKind::kProcessorWeight:
      return fmt::format("{:.0f}", *value);
    default:
      break;
  }
  const std::string bytes = base::FormatBytes(static_cast<std::uint64_t>(*value));
  return ControllerOf(kind) == Controller::kIo ? bytes + "/s" : bytes;
}

}  // namespace ballast::environment
