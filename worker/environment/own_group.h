// A cgroup that this process made: of a run, or of the agent itself.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "common/os/cgroup.h"
#include "worker/environment/runner_keeper.h"

namespace ballast::environment {

// A cgroup of this process, made and removed by it. Its directory is locked (flock) while the owner lives, which tells
// it from what a crashed one left: see SweepGroups(). Destruction kills what is left in it and removes it. Move-only.
// Not thread-safe.
class OwnGroup {
 public:
  // Makes `parent.memory_directories.front()`/NAME, where NAME is `prefix`, the pid and a number. `keeper`, which may
  // be null, is told of the group before it exists. PERMISSION_DENIED and other codes of ErrnoStatus; the message names
  // the directory.
  [[nodiscard]] static absl::StatusOr<OwnGroup> Create(const os::CgroupLocation& parent, std::string_view prefix,
                                                       RunnerKeeper* keeper = nullptr);

  OwnGroup() = default;
  OwnGroup(OwnGroup&& other) noexcept;
  OwnGroup& operator=(OwnGroup&& other) noexcept;
  OwnGroup(const OwnGroup&) = delete;
  OwnGroup& operator=(const OwnGroup&) = delete;
  ~OwnGroup();

  // Where a process in the group stands.
  [[nodiscard]] const os::CgroupLocation& location() const { return location_; }
  [[nodiscard]] const std::string& directory() const { return location_.memory_directories.front(); }
  // The file that a process which enters the group writes 0 to.
  [[nodiscard]] std::string procs_file() const { return directory() + "/cgroup.procs"; }
  // Writes a control file of the group. Codes of ErrnoStatus; the message names the file.
  [[nodiscard]] absl::Status Write(std::string_view file, std::string_view value) const;
  // Of version 1: what is in the group is in that version 2 cgroup too.
  void SetUnifiedDirectory(std::string directory) { location_.unified_directory = std::move(directory); }
  // Leaves the group to whoever comes next: it is neither emptied nor removed.
  void Abandon();

 private:
  void End();

  os::CgroupLocation location_;  // without directories where there is no group
  base::Fd lock_;
};

// A cgroup for one run below `parent`: empty, without a limit, and of version 2 with memory.oom.group, so that the
// kernel kills all of it or nothing. Codes of OwnGroup::Create.
[[nodiscard]] absl::StatusOr<OwnGroup> MakeRunGroupBelow(const os::CgroupLocation& parent);

// Names of cgroups begin so: those of the runs, those with the limits of a profile, and the one that an agent moves
// itself into.
inline constexpr std::string_view kRunGroupPrefix = "ballast-run-";
inline constexpr std::string_view kEnvironmentGroupPrefix = "ballast-env-";
inline constexpr std::string_view kAgentGroupPrefix = "ballast-agent-";

// Ends every cgroup in `directory` that is named like one of this program's and has no living owner: kills what is left
// in it and below it and removes it. Returns how many.
int SweepGroups(const std::string& directory);

}  // namespace ballast::environment
