// One command in one container that has the limits of a profile.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "cli/container_engine.h"
#include "cli/context.h"
#include "cli/exit_code.h"

namespace ballast::cli {

struct ContainerCommand {
  std::string image;
  std::vector<std::string> command;       // the image's own where empty
  std::vector<std::string> engine_flags;  // further ones, as the engine takes them
  std::string io_device;
  bool verbose = false;  // tell on `err` which limits were read back
};

// Makes a container, checks that the kernel has the profile's limits, runs the command with this program's standard
// streams and removes the container, whatever happens. The exit code is the command's own: 128 + the signal where one
// ended it, 137 with a word on `err` after an OOM kill, 127 and 126 where the image has no such program or it cannot be
// executed. FAILED_PRECONDITION where the engine does not work or a limit was not kept; CANCELLED on an interrupt,
// after which the command has some seconds to end by itself.
[[nodiscard]] absl::StatusOr<ExitCode> RunInContainer(const v1::EnvironmentProfile& profile,
                                                      const ContainerCommand& command, const ContainerEngine& engine,
                                                      Context& context);

}  // namespace ballast::cli
