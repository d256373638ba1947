// The user's environment profiles: what --env-file and the directory of the configuration have.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/job.pb.h"
#include "cli/context.h"

namespace ballast::cli {

// --env-file.
CLI::Option* AddEnvironmentFileFlag(CLI::App* command, std::string* file);

// The profiles of `file` (where it is not empty), then those of `environments.yaml` beside the configuration file, then
// those that come with the program. INVALID_ARGUMENT lists every problem as FILE:LINE:COLUMN, also for a file that
// cannot be read.
[[nodiscard]] absl::StatusOr<v1::EnvironmentCatalogue> LoadAllEnvironments(const std::string& file,
                                                                           const Context& context);

// Gives a job the profile that it names, where the user's own files have it; a name that they do not have is left to
// the coordinator. A job without an environment stays as it is. INVALID_ARGUMENT as above, and where the job names
// another profile than it has.
[[nodiscard]] absl::Status FillUsersEnvironment(const std::string& file, const Context& context, v1::JobSpec* spec);

}  // namespace ballast::cli
