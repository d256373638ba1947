#include "common/os/processor_speed.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/os/line_scanner.h"
#include "common/os/procfs.h"

namespace ballast::os {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 4096;
constexpr int kMaxTripPoints = 12;  // THERMAL_MAX_TRIPS of kernels that have a limit

// The content of a small file without its line end; empty where it cannot be read.
std::string Line(const fs::path& path) {
  absl::StatusOr<std::string> content = base::ReadFile(path, kMaxFileBytes);
  if (!content.ok()) return {};
  while (content->ends_with('\n')) content->pop_back();
  return *std::move(content);
}

std::optional<std::int64_t> SignedNumber(std::string_view text) {
  return NextNumber<std::int64_t>(&text);
}

// The directories in `parent` whose names begin with `prefix` and a digit, in order.
std::vector<fs::path> Numbered(const fs::path& parent, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(prefix) && name.size() > prefix.size() && name[prefix.size()] >= '0' &&
        name[prefix.size()] <= '9') {
      found.push_back(entry->path());
    }
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

ProcessorSpeed::ProcessorSpeed(const std::string& root) {
  OpenProcessors(fs::path(root) / "sys/devices/system/cpu");
  OpenZones(fs::path(root) / "sys/class/thermal");
}

void ProcessorSpeed::OpenProcessors(const std::string& directory) {
  for (const fs::path& processor : Numbered(directory, "cpu")) {
    for (const char* const count : {"core_throttle_count", "package_throttle_count"}) {
      FileReader reader = FileReader::OpenOptional(processor / "thermal_throttle" / count);
      if (reader.valid()) throttle_counts_.push_back(std::move(reader));
    }
    const fs::path frequency = processor / "cpufreq";
    const std::string governor = Line(frequency / "scaling_governor");
    if (!governor.empty() && (governor_.empty() || governor_ == "performance")) governor_ = governor;
    const auto highest = ParseNumber(Line(frequency / "cpuinfo_max_freq"));
    FileReader current = FileReader::OpenOptional(frequency / "scaling_cur_freq");
    if (highest.value_or(0) > 0 && current.valid()) {
      frequencies_.push_back({std::move(current), static_cast<double>(*highest)});
    }
  }
}

void ProcessorSpeed::OpenZones(const std::string& directory) {
  for (const fs::path& zone : Numbered(directory, "thermal_zone")) {
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    for (int i = 0; i < kMaxTripPoints; ++i) {
      if (Line(zone / fmt::format("trip_point_{}_type", i)) != "passive") continue;
      const auto trip = SignedNumber(Line(zone / fmt::format("trip_point_{}_temp", i)));
      if (trip && *trip > 0) lowest = std::min(lowest, *trip);
    }
    FileReader temperature = FileReader::OpenOptional(zone / "temp");
    if (lowest == std::numeric_limits<std::int64_t>::max() || !temperature.valid()) continue;
    zones_.push_back({std::move(temperature), lowest});
  }
}

std::optional<std::uint64_t> ProcessorSpeed::ReadThrottleCount(std::span<char> buffer) {
  std::optional<std::uint64_t> sum;
  for (FileReader& reader : throttle_counts_) {
    const auto text = reader.Read(buffer);
    const auto count = text ? ParseNumber(*text) : std::nullopt;
    if (count) sum = sum.value_or(0) + *count;
  }
  return sum;
}

std::optional<bool> ProcessorSpeed::ReadTooHot(std::span<char> buffer) {
  std::optional<bool> too_hot;
  for (Zone& zone : zones_) {
    const auto text = zone.temperature.Read(buffer);
    const auto millidegrees = text ? SignedNumber(*text) : std::nullopt;
    if (millidegrees) too_hot = too_hot.value_or(false) || *millidegrees >= zone.trip_millidegrees;
  }
  return too_hot;
}

std::optional<double> ProcessorSpeed::ReadFrequencyPercent(std::span<char> buffer) {
  if (frequencies_.empty()) return std::nullopt;
  Frequency& frequency = frequencies_[next_frequency_++ % frequencies_.size()];
  const auto text = frequency.current.Read(buffer);
  const auto khz = text ? ParseNumber(*text) : std::nullopt;
  if (!khz) return std::nullopt;
  return 100.0 * static_cast<double>(*khz) / frequency.highest_khz;
}

}  // namespace ballast::os
