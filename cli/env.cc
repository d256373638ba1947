// ballast env: the group, and what its commands share.
#include "cli/env.h"

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/environments.h"
#include "cli/error_text.h"
#include "common/base/status.h"
#include "common/environment/catalogue.h"

namespace ballast::cli {

absl::StatusOr<v1::EnvironmentProfile> GetEnvironment(const std::string& name, const std::string& file,
                                                      const std::string& example, const Context& context) {
  BALLAST_RETURN_IF_ERROR(RequireArgument(!name.empty(), "the name of the environment", example));
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, LoadAllEnvironments(file, context));
  const auto profile = profiles::GetProfile(catalogue, name);
  if (!profile.ok()) return WithNextStep(profile.status(), "ballast env list");
  return **profile;
}

absl::StatusOr<profiles::Engine> EngineOfFlag(const std::string& text) {
  auto engine = profiles::ParseEngine(text);
  if (engine.ok()) return engine;
  return WithNextStep(absl::InvalidArgumentError(fmt::format("--engine: {}", std::string(engine.status().message()))),
                      "--engine docker or --engine podman");
}

void AddEnvCommands(CommandTree& tree) {
  CLI::App* group =
      tree.AddLocalGroup("env", "Environments: smaller machines to run in. Which there are, and commands in them.");
  group->footer(
      "\nThese commands know the profiles of this machine: those of --env-file, of "
      "~/.config/ballast/environments.yaml\n"
      "and of the program. A coordinator may have others (--environments), which jobs can name with --env.");
  AddEnvListCommand(tree, group);
  AddEnvShowCommand(tree, group);
  AddEnvShowDockerCommand(tree, group);
  AddEnvCreateScriptsCommand(tree, group);
  AddEnvRunCommand(tree, group);
}

}  // namespace ballast::cli
