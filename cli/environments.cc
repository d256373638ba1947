#include "cli/environments.h"

#include <filesystem>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/target.h"
#include "common/base/status.h"
#include "common/environment/catalogue.h"

namespace ballast::cli {
namespace {

// Whatever is wrong with a file of profiles, it is a mistake in what was given, not a profile that could not be found.
absl::Status OfFile(const absl::Status& status, const std::string& file) {
  return WithNextStep(absl::InvalidArgumentError(std::string(status.message())),
                      fmt::format("mend {}; configs/low_mem_env.yaml shows how one looks", file));
}

absl::StatusOr<v1::EnvironmentCatalogue> LoadUsersEnvironments(const std::string& file, const Context& context) {
  v1::EnvironmentCatalogue catalogue;
  if (!file.empty()) {
    const auto read = profiles::ReadEnvironments(file);
    if (!read.ok()) return OfFile(read.status(), file);
    profiles::AddBehind(*read, &catalogue);
  }
  const auto config = ConfigFile(context);
  if (!config.ok()) return catalogue;  // without a home there is none
  const std::filesystem::path users = config->parent_path() / "environments.yaml";
  const auto read = profiles::ReadEnvironments(users);
  if (absl::IsNotFound(read.status())) return catalogue;
  if (!read.ok()) return OfFile(read.status(), users.string());
  profiles::AddBehind(*read, &catalogue);
  return catalogue;
}

}  // namespace

CLI::Option* AddEnvironmentFileFlag(CLI::App* command, std::string* file) {
  return command
      ->add_option("--env-file", *file,
                   "Profiles of your own, which stand before all others (configs/low_mem_env.yaml)")
      ->type_name("FILE");
}

absl::StatusOr<v1::EnvironmentCatalogue> LoadAllEnvironments(const std::string& file, const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(v1::EnvironmentCatalogue catalogue, LoadUsersEnvironments(file, context));
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue builtin, profiles::BuiltinEnvironments());
  profiles::AddBehind(builtin, &catalogue);
  return catalogue;
}

absl::Status FillUsersEnvironment(const std::string& file, const Context& context, v1::JobSpec* spec) {
  if (spec->environment().empty() && !spec->has_environment_profile()) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, LoadUsersEnvironments(file, context));
  const bool known =
      spec->has_environment_profile() || profiles::FindProfile(catalogue, spec->environment()) != nullptr;
  return known ? profiles::ResolveEnvironment(catalogue, spec) : absl::OkStatus();
}

}  // namespace ballast::cli
