// Whether a device's swap is what a profile wants.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/environment.pb.h"
#include "common/limits/environment_refusal.h"
#include "common/os/swap_areas.h"

namespace ballast::environment {

// What is in the way; nothing where the swap is as wanted. `limitable` says whether the kernel can limit the swap of a
// cgroup, by the file `limit_file`. Adds to `remarks` what differs without loosening anything. Pure.
[[nodiscard]] std::optional<EnvironmentRefusal> CheckSwap(const v1::SwapLimit& wanted,
                                                          const std::vector<os::SwapArea>& areas, bool limitable,
                                                          const std::string& limit_file,
                                                          std::vector<std::string>* remarks);

}  // namespace ballast::environment
