// Whether a device has the memory that a profile wants.
#pragma once

#include <optional>
#include <string>

#include "ballast/v1/environment.pb.h"
#include "common/limits/environment_refusal.h"

namespace ballast::environment {

// What is in the way where the whole device has less memory than the profile. `root` is where /proc is found.
[[nodiscard]] std::optional<EnvironmentRefusal> CheckMachineMemory(const v1::EnvironmentProfile& profile,
                                                                   const std::string& root);

// What is in the way where a cgroup above the one in `directory`, which need not be visible from here, has less. Only
// version 1 tells.
[[nodiscard]] std::optional<EnvironmentRefusal> CheckHiddenMemory(const v1::EnvironmentProfile& profile, int version,
                                                                  const std::string& directory);

}  // namespace ballast::environment
