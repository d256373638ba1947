#include "coordinator/rpc/coordinator_flags.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"

namespace ballast::coordinator {
namespace {

constexpr char kDescription[] =
    "Ballast's coordinator: hands jobs to the workers that connect to it, and keeps what comes of them.";
constexpr char kFooter[] =
    "Examples:\n"
    "  ballast-coordinator --data-dir /var/lib/ballast/coordinator\n"
    "  ballast-coordinator --config /etc/ballast/coordinator.yaml --listen unix:/run/ballast/coordinator.sock\n"
    "\n"
    "Prints `listening on ADDR` on standard output when it is ready. Exit codes: 0 ended by SIGTERM or SIGINT,\n"
    "1 could not work, 2 wrong usage or configuration.";

// A flag that sets one field of the configuration.
struct ConfigFlag {
  const char* flag;
  const char* field;
  const char* value_name;
  const char* help;
};
constexpr std::array kConfigFlags = {
    ConfigFlag{"--listen", "listen", "ADDR",
               "Where to listen: HOST:PORT (port 0 chooses a free one) or unix:/PATH [127.0.0.1:7850]"},
    ConfigFlag{"--data-dir", "data_dir", "DIR", "Directory of the database; made where missing"},
    ConfigFlag{"--heartbeat-interval", "heartbeat_interval", "TIME", "How often workers send a sign of life [2s]"},
    ConfigFlag{"--offline-after", "offline_after", "TIME",
               "A worker not heard for this long is taken for offline [15s]"},
    ConfigFlag{"--log-level", "log_level", "LEVEL", "trace, debug, info, warn or error [info]"},
};

struct Given {
  std::string config_file;
  std::array<std::optional<std::string>, kConfigFlags.size()> fields;
  bool insecure = false;
};

absl::Status Apply(const Given& given, v1::CoordinatorConfig* config) {
  for (std::size_t i = 0; i < kConfigFlags.size(); ++i) {
    if (!given.fields[i]) continue;
    const absl::Status status = config::SetField(config, kConfigFlags[i].field, *given.fields[i]);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{} {}: {}", kConfigFlags[i].flag, *given.fields[i], std::string(status.message())));
    }
  }
  if (given.insecure) config->set_insecure(true);
  return absl::OkStatus();
}

absl::StatusOr<v1::CoordinatorConfig> ReadConfig(const Given& given) {
  v1::CoordinatorConfig config;
  BALLAST_RETURN_IF_ERROR(Apply(given, &config));
  if (!given.config_file.empty()) {
    // Over the flags, so that a flag gives what the file leaves out; then the flags again, because they win.
    BALLAST_RETURN_IF_ERROR(config::ReadYamlFile(given.config_file, &config));
    BALLAST_RETURN_IF_ERROR(Apply(given, &config));
  }
  config::ApplyDefaults(&config);
  if (config.data_dir().empty()) {
    return absl::InvalidArgumentError(
        "no data directory: --data-dir DIR is missing, or data_dir in the configuration file");
  }
  BALLAST_RETURN_IF_ERROR(config::Validate(config));
  return config;
}

}  // namespace

absl::StatusOr<CoordinatorCommand> ParseCoordinatorCommand(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "ballast-coordinator");
  app.footer(kFooter);
  Given given;
  bool print_version = false;
  app.add_option("--config", given.config_file, "Configuration file (YAML); flags win over it")->option_text("FILE");
  for (std::size_t i = 0; i < kConfigFlags.size(); ++i) {
    app.add_option(kConfigFlags[i].flag, given.fields[i], kConfigFlags[i].help)
        ->option_text(kConfigFlags[i].value_name);
  }
  app.add_flag("--insecure", given.insecure, "Accept plain text on addresses other than loopback");
  app.add_flag("--version", print_version, "Print the version and exit");

  std::ranges::reverse(arguments);  // as CLI11 wants them
  CoordinatorCommand command;
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    command.kind = CoordinatorCommand::Kind::kPrint;
    command.text = app.help();
    return command;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  if (print_version) {
    command.kind = CoordinatorCommand::Kind::kPrint;
    command.text = fmt::format("ballast-coordinator {}\n", base::kVersion);
    return command;
  }
  BALLAST_ASSIGN_OR_RETURN(command.config, ReadConfig(given));
  return command;
}

}  // namespace ballast::coordinator
