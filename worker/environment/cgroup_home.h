// The agent's place among the control groups, and the cgroups of its runners.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"
#include "common/limits/environment_refusal.h"
#include "common/os/cgroup.h"
#include "worker/environment/own_group.h"
#include "worker/environment/runner_keeper.h"

namespace ballast::environment {

// Memory that is kept for the agent where the kernel does so (memory.min): it is some 10 MiB large, up to 4 MiB of
// records may wait for the disk, and a session in trouble needs some more.
inline constexpr std::uint64_t kAgentMemoryBytes = 32ULL << 20U;

// Where this process stands, and whether each runner can have a memory cgroup of its own beside it:
//
//   version 1   a child of the agent's cgroup;
//   version 2   a cgroup that has controllers for its children must not have processes itself (but the root). Where the
//               agent is alone in its cgroup (a service with Delegate=yes, a container) or in the root, it moves into a
//               leaf of its own and hands the memory controller to the leaves. Where other processes share its cgroup
//               (a shell's session) it cannot, and runners have a process group only.
//
// Runners' cgroups get no limit here, so every limit of the agent's ancestors holds for them as it does for the agent.
// Not thread-safe; outlives the groups it makes.
class CgroupHome {
 public:
  // What the process is: an agent, or one that runs a single command in an environment. The latter keeps no memory for
  // itself, and stays where it is in the root.
  enum class Purpose { kAgent, kCommand };

  // Finds out, moves this process where needed, and ends what crashed agents left. Never fails: what is not possible is
  // a limitation. Call once, before much memory is used (memory stays charged to the cgroup in which it was first
  // touched). `root` is where /proc and /sys are found.
  [[nodiscard]] static std::unique_ptr<CgroupHome> Prepare(const std::string& root = "/",
                                                           Purpose purpose = Purpose::kAgent);
  // Moves the process back to where it came from and removes the leaf.
  ~CgroupHome();
  CgroupHome(const CgroupHome&) = delete;
  CgroupHome& operator=(const CgroupHome&) = delete;

  [[nodiscard]] v1::RunnerIsolation isolation() const { return isolation_; }
  // What is not possible and why, one sentence each, for people.
  [[nodiscard]] const std::vector<std::string>& limitations() const { return limitations_; }
  // Of kAgentMemoryBytes, what the kernel really keeps for the agent: no more than each ancestor is promised itself.
  [[nodiscard]] std::uint64_t protected_bytes() const { return protected_bytes_; }

  // As MakeRunGroupBelow. FAILED_PRECONDITION where the isolation is PROCESS_GROUP; codes of OwnGroup::Create.
  [[nodiscard]] absl::StatusOr<OwnGroup> MakeRunGroup() const;

  // Why no cgroup with a limit can be made; nothing where one can.
  [[nodiscard]] const std::optional<EnvironmentRefusal>& WhyNoLimits() const { return no_limits_; }
  // Where the process was found: the parent of the groups that are made.
  [[nodiscard]] const os::CgroupLocation& base() const { return base_; }
  // Version 2: lets the groups have this controller, until this process moves back. Codes of ErrnoStatus; the message
  // names the file.
  [[nodiscard]] absl::Status HandDown(std::string_view controller);
  // Has the keeper remove the leaf of a process that runs a command: no later start would.
  void LetKeeperLeave(RunnerKeeper* keeper) const;

 private:
  explicit CgroupHome(Purpose purpose) : purpose_(purpose) {}

  // Runners have a process group only. For people; the cause is a sentence without its full stop.
  void DoWithout(EnvironmentRefusal why);
  // What crashed agents left in each hierarchy.
  void Sweep(const std::string& root);

  void PrepareVersion1();
  void PrepareVersion2();
  // Moves this process into a leaf, and lets the leaves have the memory controller. False, with a limitation, where
  // that is not possible; then everything is as before.
  bool MoveIntoLeaf();
  void MoveBack();
  // What takes back what was handed down.
  [[nodiscard]] std::string TakeBack() const;
  void ProtectMemory();
  // Whether a cgroup can be made, limited and removed; a limitation where not.
  bool ProbeRunGroup();
  [[nodiscard]] std::string PathOf(const char* file) const;

  const Purpose purpose_;
  os::CgroupLocation base_;
  bool at_root_ = false;  // of version 2
  std::vector<std::string>
      handed_down_;  // controllers for which `base_` had to be told so, and is to be told otherwise
  OwnGroup leaf_;
  v1::RunnerIsolation isolation_ = v1::PROCESS_GROUP;
  std::uint64_t protected_bytes_ = 0;
  std::vector<std::string> limitations_;
  std::optional<EnvironmentRefusal> no_limits_;
};

}  // namespace ballast::environment
