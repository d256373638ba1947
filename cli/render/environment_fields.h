// The columns of environment profiles.
#pragma once

#include <string>
#include <vector>

#include "ballast/v1/environment.pb.h"
#include "ballast/v1/report.pb.h"
#include "cli/render/records.h"

namespace ballast::cli {

[[nodiscard]] std::vector<Field<v1::EnvironmentProfile>> EnvironmentFields();

// One profile, a line a limit; what is not limited is left out.
[[nodiscard]] std::string EnvironmentDetails(const v1::EnvironmentProfile& profile);

// Memory and swap in few words: `2 GiB, no swap`.
[[nodiscard]] std::string MemoryText(const v1::EnvironmentProfile& profile);

// What a device made of a profile, in few words: `2gb-noswap: 2 GiB, no swap`.
[[nodiscard]] std::string AppliedText(const v1::AppliedEnvironment& applied);

// The environments of the runs in a report, and what of their profiles was not set: a line each, once where runs have
// the same, with the runs' names where not all have. Empty where no run had one.
[[nodiscard]] std::string AppliedEnvironments(const std::vector<const v1::RunReport*>& runs);

}  // namespace ballast::cli
