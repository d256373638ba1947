// env run with an engine: a container, and what is said of its end.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "common/containers/container_run.h"

namespace ballast::cli {

// Runs the command in a container (containers::RunInContainer). The exit code is the command's own: 128 + the signal
// where one ended it, 137 with a word on `err` after an OOM kill, 127 and 126 where the image has no such program or it
// cannot be executed. `verbose`: tell on `err` which limits were read back. Codes of containers::RunInContainer.
[[nodiscard]] absl::StatusOr<ExitCode> RunInContainer(const v1::EnvironmentProfile& profile,
                                                      const containers::ContainerCommand& command,
                                                      profiles::Engine engine, bool verbose, Context& context);

}  // namespace ballast::cli
