#include "coordinator/rpc/coordinator_flags.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/config_flags.h"

namespace ballast::coordinator {
namespace {

constexpr char kDescription[] =
    "Ballast's coordinator: hands jobs to the workers that connect to it, and keeps what comes of them.";
constexpr char kFooter[] =
    "Examples:\n"
    "  ballast-coordinator --data-dir /var/lib/ballast/coordinator\n"
    "  ballast-coordinator --config /etc/ballast/coordinator.yaml --listen unix:/run/ballast/coordinator.sock\n"
    "\n"
    "Of the database alone: ballast-coordinator backup, restore and compact (each has --help).\n"
    "Prints `listening on ADDR` on standard output when it is ready. Exit codes: 0 ended by SIGTERM or SIGINT,\n"
    "1 could not work, 2 wrong usage or configuration.";

constexpr std::array kConfigFlags = {
    config::ConfigFlag{"--listen", "listen", "ADDR",
                       "Where to listen: HOST:PORT (port 0 chooses a free one) or unix:/PATH [127.0.0.1:7850]"},
    config::ConfigFlag{"--data-dir", "data_dir", "DIR", "Directory of the database; made where missing"},
    config::ConfigFlag{"--heartbeat-interval", "heartbeat_interval", "TIME",
                       "How often workers send a sign of life [2s]"},
    config::ConfigFlag{"--offline-after", "offline_after", "TIME",
                       "A worker not heard for this long is taken for offline [15s]"},
    config::ConfigFlag{"--models", "models", "FILE",
                       "Model catalogue that stands before the one that comes with the program"},
    config::ConfigFlag{"--environments", "environments", "FILE",
                       "Environment profiles that stand before those that come with the program"},
    config::ConfigFlag{"--quarantine-after", "scheduling.quarantine_after", "N",
                       "Failures of the infrastructure in a row that put a device into quarantine, 0 for never [3]"},
    config::ConfigFlag{"--log-level", "log_level", "LEVEL", "trace, debug, info, warn or error [info]"},
    config::ConfigFlag{"--insecure", "insecure", nullptr, "Accept plain text on addresses other than loopback"},
};

}  // namespace

absl::StatusOr<CoordinatorCommand> ParseCoordinatorCommand(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "ballast-coordinator");
  app.footer(kFooter);
  config::ConfigFlags flags(kConfigFlags);
  flags.AddTo(&app);
  bool print_version = false;
  app.add_flag("--version", print_version, "Print the version and exit");

  CoordinatorCommand command;
  BALLAST_ASSIGN_OR_RETURN(command.text, config::ConfigFlags::Parse(&app, std::move(arguments)));
  if (!command.text.empty()) {
    command.kind = CoordinatorCommand::Kind::kPrint;
    return command;
  }
  if (print_version) {
    command.kind = CoordinatorCommand::Kind::kPrint;
    command.text = fmt::format("ballast-coordinator {}\n", base::kVersion);
    return command;
  }
  BALLAST_RETURN_IF_ERROR(flags.Read(&command.config));
  return command;
}

}  // namespace ballast::coordinator
