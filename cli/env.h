// ballast env: the commands of the group, one file each.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/environment.pb.h"
#include "cli/command_tree.h"
#include "common/environment/container.h"

namespace ballast::cli {

// Each adds one command below `group`.
void AddEnvListCommand(CommandTree& tree, CLI::App* group);
void AddEnvShowCommand(CommandTree& tree, CLI::App* group);
void AddEnvShowDockerCommand(CommandTree& tree, CLI::App* group);
void AddEnvCreateScriptsCommand(CommandTree& tree, CLI::App* group);
void AddEnvRunCommand(CommandTree& tree, CLI::App* group);

// The profile with this name or alias, among all that there are. INVALID_ARGUMENT where no name was given or a file is
// wrong, NOT_FOUND with the nearest names.
[[nodiscard]] absl::StatusOr<v1::EnvironmentProfile> GetEnvironment(const std::string& name, const std::string& file,
                                                                    const std::string& example, const Context& context);

// --engine, parsed. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::StatusOr<profiles::Engine> EngineOfFlag(const std::string& text);

}  // namespace ballast::cli
