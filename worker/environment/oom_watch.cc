#include "worker/environment/oom_watch.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/os/line_scanner.h"
#include "common/os/procfs.h"

namespace ballast::environment {
namespace {

constexpr std::chrono::seconds kRecent(5);
constexpr int kVersion2 = 2;
constexpr std::array<const char*, 4> kOomdAttributes = {"user.oomd_ooms", "user.oomd_kill", "trusted.oomd_ooms",
                                                        "trusted.oomd_kill"};

std::uint64_t Difference(std::uint64_t from, std::uint64_t to) {
  return to > from ? to - from : 0;
}

std::optional<std::uint64_t> Difference(const std::optional<std::uint64_t>& from,
                                        const std::optional<std::uint64_t>& to) {
  if (!from || !to) return std::nullopt;
  return Difference(*from, *to);
}

std::uint64_t OomdMarks(const std::string& directory) {
  std::uint64_t marks = 0;
  for (const char* const name : kOomdAttributes) {
    std::array<char, 32> text{};
    const ssize_t n = ::getxattr(directory.c_str(), name, text.data(), text.size());
    if (n > 0) marks += os::ToNumber<std::uint64_t>({text.data(), static_cast<std::size_t>(n)}).value_or(0);
  }
  return marks;
}

// An eventfd that counts the OOM events that a version 1 cgroup is told of.
base::Fd Notifications(const std::string& directory) {
  base::Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const absl::StatusOr<base::Fd> source = base::OpenFile(directory + "/memory.oom_control", O_RDONLY);
  const absl::StatusOr<base::Fd> control = base::OpenFile(directory + "/cgroup.event_control", O_WRONLY);
  if (!event.valid() || !source.ok() || !control.ok() ||
      !base::WriteAll(control->get(), fmt::format("{} {}", event.get(), source->get())).ok()) {
    return {};
  }
  return event;
}

}  // namespace

OomWatch OomWatch::Open(const os::CgroupLocation& location, const std::string& root) {
  const std::string proc = root.ends_with('/') ? root + "proc" : root + "/proc";
  OomWatch watch;
  watch.version_ = location.memory_version;
  watch.buffer_.resize(os::kReadBufferBytes);
  watch.vmstat_ = os::FileReader::OpenOptional(proc + "/vmstat");
  watch.sees_every_limit_ = location.memory_directories.empty()
                                ? os::HasNoMemoryCgroups(root)
                                : os::IsTrueRoot(location.memory_directories.back(), location.memory_version);
  std::string path = location.memory_path;
  for (const std::string& directory : location.memory_directories) {
    Level level;
    level.path = path.empty() ? "/" : path;
    level.directory = directory;
    path.resize(std::min(path.size(), path.rfind('/')));
    level.events = os::FileReader::OpenOptional(
        fmt::format("{}/{}", directory, os::MemoryFilesOf(location.memory_version).oom_events));
    if (location.memory_version == kVersion2) {
      level.local_events = os::FileReader::OpenOptional(directory + "/memory.events.local");
    } else if (!os::IsTrueRoot(directory, location.memory_version)) {  // the root has no limit
      level.notifications = Notifications(directory);
      if (!level.notifications.valid()) watch.sees_every_limit_ = false;
    }
    watch.levels_.push_back(std::move(level));
  }
  watch.start_ = watch.Read();
  watch.older_ = watch.start_;
  watch.newer_ = watch.start_;
  return watch;
}

OomWatch::Snapshot OomWatch::Read() {
  Snapshot snapshot;
  if (const auto text = vmstat_.Read(buffer_)) snapshot.machine_kills = os::FindKeyedNumber(*text, "oom_kill");
  snapshot.levels.reserve(levels_.size());
  for (Level& level : levels_) {
    LevelCounts& counts = snapshot.levels.emplace_back();
    if (const auto text = level.events.Read(buffer_)) {
      counts.kills = os::FindKeyedNumber(*text, "oom_kill");
      if (version_ == kVersion2) counts.hits = os::FindKeyedNumber(*text, "oom").value_or(0);
    }
    if (const auto text = level.local_events.Read(buffer_)) {
      counts.hits = os::FindKeyedNumber(*text, "oom").value_or(0);
    }
    std::uint64_t notified = 0;
    if (level.notifications.valid() &&
        ::read(level.notifications.get(), &notified, sizeof notified) == static_cast<ssize_t>(sizeof notified)) {
      level.notified += notified;
    }
    if (level.notifications.valid()) counts.hits = level.notified;
    counts.oomd_marks = OomdMarks(level.directory);
  }
  return snapshot;
}

OomCounts OomWatch::Rise(const Snapshot& from, const Snapshot& to) const {
  OomCounts rise;
  rise.machine_kills = Difference(from.machine_kills, to.machine_kills);
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const LevelCounts& before = from.levels[i];
    const LevelCounts& after = to.levels[i];
    if (i == 0) rise.kills = Difference(before.kills, after.kills);
    std::uint64_t hits = Difference(before.hits, after.hits);
    // What the level shows of its neighbour is not its own: version 1 wakes those below the limit, version 2's
    // memory.events counts for those above it.
    if (version_ != kVersion2 && i + 1 < levels_.size()) {
      hits = Difference(Difference(from.levels[i + 1].hits, to.levels[i + 1].hits), hits);
    } else if (version_ == kVersion2 && i > 0 && !levels_[i].local_events.valid()) {
      hits = Difference(Difference(from.levels[i - 1].hits, to.levels[i - 1].hits), hits);
    }
    if (hits > 0 && rise.limit_cgroup.empty()) {
      rise.limit_cgroup = levels_[i].path;
      if (version_ == kVersion2) rise.kills_under_limit = Difference(before.kills, after.kills);
    }
    rise.limit_hits += hits;
    const std::uint64_t oomd_marks = Difference(before.oomd_marks, after.oomd_marks);
    if (oomd_marks > 0 && rise.oomd_cgroup.empty()) rise.oomd_cgroup = levels_[i].path;
    rise.oomd_marks += oomd_marks;
  }
  return rise;
}

void OomWatch::Observe(std::chrono::nanoseconds now) {
  if (now < newer_.time + kRecent) return;
  older_ = std::move(newer_);
  newer_ = Read();
  newer_.time = now;
}

OomCounts OomWatch::SinceStart() {
  return Rise(start_, Read());
}

OomCounts OomWatch::Recent() {
  return Rise(older_, Read());
}

}  // namespace ballast::environment
