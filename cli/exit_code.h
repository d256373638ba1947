// The exit codes of `ballast`, and the one place where errors and outcomes become one.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::cli {

// Documented in docs/cli.md; scripts rely on the numbers.
enum class ExitCode : int {
  kDone = 0,            // everything as asked; every run ended as its job expects
  kEndedOtherwise = 1,  // a run ended otherwise, or something failed that has no code of its own
  kUsage = 2,           // a mistake on the command line or in a file that was given
  kUnreachable = 3,     // no coordinator, or no access to it
  kNotFound = 4,        // no such job, run, device, model or profile
  kRegression = 5,      // a comparison found a regression
  kRefused = 6,         // the device or the environment refused
  kInterrupted = 130,   // Ctrl+C or SIGTERM
};

// For a failed call or check. OK gives kDone.
[[nodiscard]] ExitCode ExitCodeOf(const absl::Status& status);

// For a job that has ended, with all of its runs.
[[nodiscard]] ExitCode ExitCodeOf(const v1::Job& job, const std::vector<v1::Run>& runs);

}  // namespace ballast::cli
