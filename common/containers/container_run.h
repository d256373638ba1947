// One command in one container that has the limits of a profile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/run.pb.h"
#include "common/containers/engine.h"

namespace ballast::containers {

struct ContainerCommand {
  std::string image;
  std::vector<std::string> command;       // the image's own where empty
  std::vector<std::string> engine_flags;  // further ones, as the engine takes them
  std::string io_device;
};

// What became of it.
struct ContainerEnd {
  // Why the command did not begin: NOT_FOUND and PERMISSION_DENIED, where the image has no such program or it cannot be
  // executed. The exit code is then 127 or 126.
  absl::Status start;
  // The command's own; 128 + the signal where one ended it.
  int exit_code = 0;
  // How many of its processes the kernel ended at a limit; nothing where the count could not be read.
  std::optional<std::uint64_t> oom_kills;
  bool engine_says_oom_killed = false;  // which is not always true
  // The limits as they were read back; without readings where the container was gone before they could be read.
  v1::AppliedEnvironment environment;

  // Whether the command itself was ended by the OOM killer.
  [[nodiscard]] bool oom_killed() const {
    return exit_code == kKilledCode && (oom_kills.value_or(0) > 0 || engine_says_oom_killed);
  }
  static constexpr int kKilledCode = 128 + 9;
};

// Makes a container, checks that the kernel has the profile's limits, runs the command with this program's standard
// streams and removes the container, whatever happens; also those which a killed program has left. FAILED_PRECONDITION,
// with a next step (base::NextStepOf), where the engine does not work or a limit was not kept; INVALID_ARGUMENT where a
// device has to be named; CANCELLED on an interrupt, after which the command has some seconds to end by itself. Call it
// from a thread that stays.
[[nodiscard]] absl::StatusOr<ContainerEnd> RunInContainer(const v1::EnvironmentProfile& profile,
                                                          const ContainerCommand& command,
                                                          const ContainerEngine& engine);

}  // namespace ballast::containers
