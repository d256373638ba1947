// The limits of an environment profile as files of a cgroup, and those files as limits.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"

namespace ballast::environment {

enum class LimitKind {
  kMemory,
  kMemoryHigh,       // version 2 only
  kSwap,             // version 2 only
  kMemoryAndSwap,    // version 1 only: both together
  kSwappiness,       // version 1 only
  kProcessors,       // parts of one
  kProcessorWeight,  // relative to 100 (version 2) or 1024 (version 1)
  kDiskRead,         // bytes a second
  kDiskWrite,
};

enum class Controller { kMemory, kCpu, kIo };

// What is to be written to a control file of the group.
struct ControlWrite {
  std::string file;
  std::string text;
};

// One limit that a profile asks for.
struct PlannedLimit {
  LimitKind kind = LimitKind::kMemory;
  // In the unit of its kind: bytes, processors, weight, bytes a second.
  double asked = 0;
  std::vector<ControlWrite> writes;  // in this order
};

// The limits that a profile asks for, in the order in which they must be written. `disk` is the `MAJOR:MINOR` of the
// disk whose traffic is limited, where the profile limits it. What the version of the cgroups does not have is left
// out: see MissingIn(). Pure.
[[nodiscard]] std::vector<PlannedLimit> PlanLimits(const v1::EnvironmentProfile& profile, int version,
                                                   std::string_view disk);

// What the profile asks for and the version of the cgroups does not have, one sentence each, for people. None of it
// loosens the environment. Pure.
[[nodiscard]] std::vector<std::string> MissingIn(int version, const v1::EnvironmentProfile& profile);

[[nodiscard]] Controller ControllerOf(LimitKind kind);
// Name of a controller in that version: `memory`, `cpu`, `io` or `blkio`.
[[nodiscard]] std::string_view ControllerName(Controller controller, int version);

// The control files that say what the limit is: one, or, for the processors of version 1, quota and period.
[[nodiscard]] std::vector<std::string_view> LimitFilesOf(LimitKind kind, int version);

// The limit that the contents of those files say, in the same order; nothing where they say that there is none.
// INVALID_ARGUMENT where they make no sense. `disk` as above. Pure.
[[nodiscard]] absl::StatusOr<std::optional<double>> ParseLimit(LimitKind kind, int version,
                                                               const std::vector<std::string>& contents,
                                                               std::string_view disk);

// Whether a limit of an ancestor holds for the group as well; weights are among neighbours only.
[[nodiscard]] bool HoldsForDescendants(LimitKind kind);
// How far apart two values may be and still be the same: what the kernel rounds.
[[nodiscard]] double ToleranceOf(LimitKind kind, double asked);

// What is limited, and the value with its unit, for people: `memory`, `2 GiB`.
[[nodiscard]] std::string_view LimitName(LimitKind kind);
[[nodiscard]] std::string LimitText(LimitKind kind, const std::optional<double>& value);

}  // namespace ballast::environment
