#include "cli/target.h"

#include <fmt/format.h>

#include "ballast/v1/config.pb.h"
#include "cli/error_text.h"
#include "common/base/status.h"
#include "common/config/yaml.h"

namespace ballast::cli {
namespace {

// A directory of the XDG base directory specification. Relative values there are to be ignored.
absl::StatusOr<std::filesystem::path> BaseDirectory(const Context& context, const std::string& variable,
                                                    const char* below_home) {
  if (const auto value = context.variable(variable); value && std::filesystem::path(*value).is_absolute()) {
    return std::filesystem::path(*value);
  }
  const auto home = context.variable("HOME");
  if (!home) {
    return WithNextStep(absl::FailedPreconditionError(fmt::format("neither HOME nor {} is set", variable)),
                        fmt::format("set {} to a directory of your own", variable));
  }
  return std::filesystem::path(*home) / below_home;
}

}  // namespace

absl::StatusOr<std::filesystem::path> ConfigFile(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const auto directory, BaseDirectory(context, "XDG_CONFIG_HOME", ".config"));
  return directory / "ballast" / "config.yaml";
}

absl::StatusOr<std::filesystem::path> DataDirectory(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const auto directory, BaseDirectory(context, "XDG_DATA_HOME", ".local/share"));
  return directory / "ballast";
}

absl::StatusOr<Target> FindTarget(const ConnectionFlags& flags, const Context& context) {
  Target target{.address = flags.coordinator, .source = "--coordinator", .insecure = flags.insecure};
  if (target.address.empty()) {
    target.address = context.variable("BALLAST_COORDINATOR").value_or("");
    target.source = "BALLAST_COORDINATOR";
  }
  if (target.address.empty()) {
    // Without a home there is no configuration either; local mode will say so if it is what remains.
    if (const auto file = ConfigFile(context); file.ok()) {
      v1::ClientConfig config;
      const absl::Status read = config::ReadYamlFile(*file, &config);
      if (!read.ok() && read.code() != absl::StatusCode::kNotFound) {
        return WithNextStep(absl::InvalidArgumentError(std::string(read.message())),
                            fmt::format("mend {}, or give --coordinator", file->string()));
      }
      target.address = config.coordinator();
      target.source = file->string();
    }
  }
  if (target.address == kLocalCoordinator) target.address.clear();
  return target;
}

}  // namespace ballast::cli
