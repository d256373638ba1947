// How a runner becomes the program under test.
#pragma once

#include "absl/status/status.h"
#include "ballast/v1/runner.pb.h"

namespace ballast::runner {

// What the runner has taken until now.
[[nodiscard]] v1::ProgramBegin ReadOwnUsage();

// Takes on the user and the working directory of the task. Only in a process with one thread. Codes of ErrnoStatus,
// NOT_FOUND for a user that is none, PERMISSION_DENIED where only root may; what was changed until then stays.
[[nodiscard]] absl::Status EnterProgramContext(const v1::CommandTask& task);

// Becomes the program: with the task's environment variables alone, descriptors 0 to 2, default signals, and none
// blocked. Returns only where that failed, and why.
[[nodiscard]] absl::Status BecomeProgram(const v1::CommandTask& task);

}  // namespace ballast::runner
