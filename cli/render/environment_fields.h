// The columns of environment profiles.
#pragma once

#include <string>
#include <vector>

#include "ballast/v1/environment.pb.h"
#include "cli/render/records.h"

namespace ballast::cli {

[[nodiscard]] std::vector<Field<v1::EnvironmentProfile>> EnvironmentFields();

// One profile, a line a limit; what is not limited is left out.
[[nodiscard]] std::string EnvironmentDetails(const v1::EnvironmentProfile& profile);

// Memory and swap in few words: `2 GiB, no swap`.
[[nodiscard]] std::string MemoryText(const v1::EnvironmentProfile& profile);

}  // namespace ballast::cli
