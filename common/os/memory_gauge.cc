#include "common/os/memory_gauge.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "common/os/procfs.h"

namespace ballast::os {
namespace {

// A cgroup between this process and the root of its hierarchy.
struct Level {
  std::string path;  // as the kernel names the cgroup
  FileReader limit;
  FileReader usage;
  FileReader stat;
  FileReader swap_limit;
  FileReader swap_usage;
};

class OpenMemoryGauge final : public MemoryGauge {
 public:
  OpenMemoryGauge(FileReader meminfo, const MemoryCgroupFiles& files) : meminfo_(std::move(meminfo)), files_(files) {}

  void AddLevel(Level level) { levels_.push_back(std::move(level)); }

  absl::StatusOr<MemoryReading> Read() override {
    const std::optional<std::string_view> content = meminfo_.Read(buffer_);
    if (!content) return base::ErrnoStatus(meminfo_.last_errno(), "read /proc/meminfo");
    const MemInfo info = ParseMemInfo(*content);
    if (!info.total || !info.available || *info.total == 0) {
      return absl::InvalidArgumentError(
          "/proc/meminfo has no MemTotal or no MemAvailable; a Linux kernel of version 3.14 or later is needed");
    }
    MemoryReading reading;
    reading.limit_bytes = *info.total;
    reading.available_bytes = std::min(*info.available, *info.total);
    reading.headroom_bytes = reading.available_bytes;
    reading.file_bytes = info.active_file.value_or(0) + info.inactive_file.value_or(0);
    reading.available_file_bytes = reading.file_bytes;
    reading.swap_headroom_bytes = info.swap_free.value_or(0);
    const std::string* source = &kMachine;
    // Innermost first, and only a smaller limit takes over: of equal limits the innermost holds. The limits are read
    // each time, because they may be changed while the process lives.
    for (Level& level : levels_) {
      const std::optional<std::uint64_t> limit = ReadLimit(level);
      if (!files_.swap_includes_memory) LimitSwap(level, 0, &reading);
      if (!limit || *limit >= *info.total) continue;
      const std::optional<Usage> usage = ReadUsage(level);
      if (!usage) continue;  // the cgroup was removed
      const std::uint64_t left = *limit > usage->used_bytes() ? *limit - usage->used_bytes() : 0;
      reading.headroom_bytes = std::min(reading.headroom_bytes, left);
      if (files_.swap_includes_memory) {
        // What is left of both together may go to memory first.
        const std::uint64_t memory_left = *limit > usage->charged_bytes ? *limit - usage->charged_bytes : 0;
        LimitSwap(level, memory_left, &reading);
      }
      if (*limit >= reading.limit_bytes) continue;
      reading.limit_bytes = *limit;
      reading.available_bytes = left;
      reading.file_bytes = usage->active_file_bytes + usage->inactive_file_bytes;
      reading.available_file_bytes = usage->inactive_file_bytes;
      source = &level.path;
    }
    source_ = source;
    return reading;
  }

  const std::string& limit_source() const override { return *source_; }

 private:
  std::optional<std::uint64_t> ReadLimit(Level& level) {
    const std::optional<std::string_view> content = level.limit.Read(buffer_);
    return content ? ParseMemoryLimit(*content) : std::nullopt;
  }

  // Takes a cgroup's limit of swap into account; `memory_left` of what is left of it is no swap.
  void LimitSwap(Level& level, std::uint64_t memory_left, MemoryReading* reading) {
    if (reading->swap_headroom_bytes == 0) return;
    const std::optional<std::string_view> limit_text = level.swap_limit.Read(buffer_);
    const std::optional<std::uint64_t> limit = limit_text ? ParseMemoryLimit(*limit_text) : std::nullopt;
    if (!limit) return;
    const std::optional<std::string_view> usage_text = level.swap_usage.Read(buffer_);
    const std::uint64_t taken = memory_left + (usage_text ? ParseNumber(*usage_text).value_or(0) : 0);
    reading->swap_headroom_bytes = std::min(reading->swap_headroom_bytes, *limit > taken ? *limit - taken : 0);
  }

  struct Usage {
    std::uint64_t charged_bytes = 0;
    std::uint64_t active_file_bytes = 0;
    std::uint64_t inactive_file_bytes = 0;
    // Inactive page cache is left out: the kernel drops it before it refuses anything.
    [[nodiscard]] std::uint64_t used_bytes() const {
      return charged_bytes > inactive_file_bytes ? charged_bytes - inactive_file_bytes : 0;
    }
  };

  std::optional<Usage> ReadUsage(Level& level) {
    const std::optional<std::string_view> usage_text = level.usage.Read(buffer_);
    const std::optional<std::uint64_t> charged = usage_text ? ParseNumber(*usage_text) : std::nullopt;
    if (!charged) return std::nullopt;
    Usage usage;
    usage.charged_bytes = *charged;
    if (const std::optional<std::string_view> stat_text = level.stat.Read(buffer_)) {
      usage.active_file_bytes = FindKeyedNumber(*stat_text, files_.active_file).value_or(0);
      usage.inactive_file_bytes = FindKeyedNumber(*stat_text, files_.inactive_file).value_or(0);
    }
    return usage;
  }

  inline static const std::string kMachine = "machine";

  FileReader meminfo_;
  const MemoryCgroupFiles& files_;  // of static storage
  std::vector<Level> levels_;       // not changed after Open(): source_ points into it
  const std::string* source_ = &kMachine;
  std::array<char, kReadBufferBytes> buffer_;
};

// The cgroup path of the ancestor `depth` levels above `path`.
std::string AncestorPath(std::string path, std::size_t depth) {
  for (; depth > 0; --depth) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || slash == 0) return "/";
    path.resize(slash);
  }
  return path;
}

}  // namespace

MemoryReading CountHeldFileBytes(MemoryReading reading, std::uint64_t held_file_bytes) {
  if (reading.file_bytes == 0) return reading;
  const double share = static_cast<double>(reading.available_file_bytes) / static_cast<double>(reading.file_bytes);
  const std::uint64_t held = std::min(held_file_bytes, reading.file_bytes);
  reading.held_file_bytes = held;
  const auto counted = static_cast<std::uint64_t>(share * static_cast<double>(held));
  reading.available_bytes -= std::min(reading.available_bytes, counted);
  reading.headroom_bytes -= std::min(reading.headroom_bytes, counted);
  return reading;
}

absl::StatusOr<std::unique_ptr<MemoryGauge>> MemoryGauge::Open(const std::string& root) {
  // A machine whose cgroups cannot be found out has its memory as the only limit.
  const absl::StatusOr<CgroupLocation> located = LocateCgroups(root);
  return Open(root, located.ok() ? *located : CgroupLocation());
}

absl::StatusOr<std::unique_ptr<MemoryGauge>> MemoryGauge::Open(const std::string& root,
                                                               const CgroupLocation& location) {
  const std::string_view separator = root.ends_with('/') ? "" : "/";
  BALLAST_ASSIGN_OR_RETURN(FileReader meminfo, FileReader::Open(fmt::format("{}{}proc/meminfo", root, separator)));
  const MemoryCgroupFiles& files = MemoryFilesOf(location.memory_version);
  auto gauge = std::make_unique<OpenMemoryGauge>(std::move(meminfo), files);
  for (std::size_t depth = 0; depth < location.memory_directories.size(); ++depth) {
    const std::string& directory = location.memory_directories[depth];
    Level level;
    level.path = AncestorPath(location.memory_path, depth);
    level.limit = FileReader::OpenOptional(fmt::format("{}/{}", directory, files.limit));
    level.usage = FileReader::OpenOptional(fmt::format("{}/{}", directory, files.usage));
    level.stat = FileReader::OpenOptional(fmt::format("{}/{}", directory, files.stat));
    level.swap_limit = FileReader::OpenOptional(fmt::format("{}/{}", directory, files.swap_limit));
    level.swap_usage = FileReader::OpenOptional(fmt::format("{}/{}", directory, files.swap_usage));
    // The root cgroup of version 2 has none of them; nor has one to which the controller was not delegated.
    if (level.limit.valid() && level.usage.valid()) gauge->AddLevel(std::move(level));
  }
  BALLAST_RETURN_IF_ERROR(gauge->Read().status());
  return gauge;
}

}  // namespace ballast::os
