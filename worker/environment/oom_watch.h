// What the kernel counts of OOM kills, from a runner's cgroup up to the root.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/fd.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"

namespace ballast::environment {

// Rises of the counts over some time.
struct OomCounts {
  // OOM kills of processes in the runner's cgroup, for whatever reason; absent where they are not counted.
  std::optional<std::uint64_t> kills;
  // OOM kills on the whole machine.
  std::optional<std::uint64_t> machine_kills;
  // How often the limit of the runner's cgroup or of one of its ancestors made the kernel look for a victim.
  std::uint64_t limit_hits = 0;
  // Path of the innermost cgroup whose limit did, and the OOM kills in it and below it (version 2 only).
  std::string limit_cgroup;
  std::optional<std::uint64_t> kills_under_limit;
  // How often systemd-oomd (or oomd, from which it grew) left its mark on the runner's cgroup or an ancestor, as it
  // does on what it kills, and the path of the innermost.
  std::uint64_t oomd_marks = 0;
  std::string oomd_cgroup;
};

// Watches the counts from its opening on. Version 2 has them in memory.events and memory.events.local: `oom` is counted
// where a limit is hit, `oom_kill` where the victim is. Version 1 has `oom_kill` in memory.oom_control, and tells of a
// limit that is hit through an eventfd: a hit wakes those who listen at that cgroup or below it. systemd-oomd counts in
// extended attributes of the cgroup: `user.oomd_ooms` before it kills, `user.oomd_kill` after that. Not thread-safe.
class OomWatch {
 public:
  // `location` is the runner's place. What is missing is not counted. `root` is where /proc is found.
  [[nodiscard]] static OomWatch Open(const os::CgroupLocation& location, const std::string& root = "/");

  // Remembers the counts of now, for Recent(). Call every second or so; `now` is on any clock that only goes forward.
  void Observe(std::chrono::nanoseconds now);

  // The rises since the opening.
  [[nodiscard]] OomCounts SinceStart();
  // The rises of the last five to ten seconds (less where the watch is younger). For verdicts: what is longer ago did
  // not end the runner now.
  [[nodiscard]] OomCounts Recent();

  // Whether every cgroup that could have a limit is watched: the runner's, up to the true root (a container sees only
  // its own), or where the kernel has no memory cgroups at all.
  [[nodiscard]] bool sees_every_limit() const { return sees_every_limit_; }

 private:
  struct Level {
    std::string path;       // as the kernel names the cgroup
    std::string directory;  // for the extended attributes
    os::FileReader events;
    os::FileReader local_events;  // version 2, kernels from 5.2 on
    base::Fd notifications;       // version 1
    std::uint64_t notified = 0;   // so far
  };
  // Absolute counts.
  struct LevelCounts {
    std::optional<std::uint64_t> kills;
    std::uint64_t hits = 0;  // of its own limit; in version 1, and without local_events, those of a neighbour included
    std::uint64_t oomd_marks = 0;
  };
  struct Snapshot {
    std::chrono::nanoseconds time{0};
    std::optional<std::uint64_t> machine_kills;
    std::vector<LevelCounts> levels;
  };

  [[nodiscard]] Snapshot Read();
  [[nodiscard]] OomCounts Rise(const Snapshot& from, const Snapshot& to) const;

  int version_ = 0;
  bool sees_every_limit_ = false;
  std::vector<Level> levels_;  // innermost first
  os::FileReader vmstat_;
  std::vector<char> buffer_;
  Snapshot start_;
  Snapshot older_;  // five seconds before `newer_`
  Snapshot newer_;
};

}  // namespace ballast::environment
