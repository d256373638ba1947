// Limits as the kernel has them, from a cgroup up to the root of its hierarchy.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/limits/environment_refusal.h"
#include "common/limits/limits.h"

namespace ballast::environment {

// What was read of one limit.
struct LimitReadback {
  // The tightest value from the group up; nothing where none is limited.
  std::optional<double> tightest;
  // Each file that was there, innermost first: `FILE: VALUE`.
  std::vector<std::string> readings;
};

// Reads one limit from the cgroup whose directory comes first and from all of its ancestors, whose directories follow.
// What is in the way: the group itself has another value than asked, or none, or an ancestor a tighter one. `profile`
// is the profile's name, `disk` as in PlanLimits.
[[nodiscard]] std::optional<EnvironmentRefusal> CheckLimit(const PlannedLimit& limit, int version,
                                                           const std::string& disk, const std::string& profile,
                                                           const std::vector<std::string>& directories,
                                                           LimitReadback* found);

// The same of the ancestors alone, where the group itself need not have the limit. A value of `asked` or more is not in
// the way.
[[nodiscard]] std::optional<EnvironmentRefusal> CheckAncestors(LimitKind kind, double asked, int version,
                                                               const std::string& disk, const std::string& profile,
                                                               const std::vector<std::string>& directories,
                                                               LimitReadback* found);

}  // namespace ballast::environment
