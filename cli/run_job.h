// From a JobSpec to a result: what simple and submit have in common.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/job.pb.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/follow_job.h"
#include "cli/session.h"
#include "cli/target.h"

namespace ballast::cli {

// What happens with a job that is described.
struct ResultFlags {
  ConnectionFlags connection;
  std::string output;
  std::string output_directory;
  std::string environment_file;
  bool save_report = false;
  bool include_invalid = false;
  bool dry_run = false;
  bool detach = false;
};

// All of them; watch has only those that do not concern the submission.
void AddSubmissionFlags(CLI::App* command, ResultFlags* flags);
void AddResultFlags(CLI::App* command, ResultFlags* flags);

// Prints, or submits, follows and reports a valid job, as the flags say; an environment that the user's own profiles
// have goes along as it is. `command` is what the private worker may run for it; null for nothing. INVALID_ARGUMENT
// when flags contradict each other; codes of FillUsersEnvironment.
[[nodiscard]] absl::StatusOr<ExitCode> RunJob(v1::JobSpec spec, const ResultFlags& flags, Context& context,
                                              const v1::CommandDefinition* command = nullptr);

// A coordinator's refusal of a job, with the next step.
[[nodiscard]] absl::Status ExplainRefusal(const absl::Status& status, const v1::JobSpec& spec);

// Prints and writes the results of a job that was followed, and gives the exit code it deserves.
[[nodiscard]] absl::StatusOr<ExitCode> FinishJob(const FollowedJob& followed, const ResultFlags& flags,
                                                 Session& session, Context& context);

}  // namespace ballast::cli
