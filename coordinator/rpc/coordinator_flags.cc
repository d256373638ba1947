#include "coordinator/rpc/coordinator_flags.h"

#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/config_flags.h"
#include "common/config/field_rules.h"
#include "common/tls/certificate.h"

namespace ballast::coordinator {
namespace {

constexpr char kDescription[] =
    "Ballast's coordinator: hands jobs to the workers that connect to it, and keeps what comes of them.";
constexpr char kFooter[] =
    "Examples:\n"
    "  ballast-coordinator --data-dir /var/lib/ballast/coordinator\n"
    "  ballast-coordinator --config /etc/ballast/coordinator.yaml --listen unix:/run/ballast/coordinator.sock\n"
    "  ballast-coordinator init --data-dir /var/lib/ballast/coordinator --server-name lab.example.org\n"
    "  ballast-coordinator token --data-dir /var/lib/ballast/coordinator --role worker --ttl 15m\n"
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
// Of the commands beside serving.
constexpr std::array kDirectoryFlags = {
    config::ConfigFlag{"--data-dir", "data_dir", "DIR", "The coordinator's directory"},
};

// Names that the coordinator's certificate could not be valid for.
std::vector<config::Violation> FindNameProblems(const google::protobuf::Message& message) {
  const auto& config = static_cast<const v1::CoordinatorConfig&>(message);
  std::vector<config::Violation> problems;
  for (int i = 0; i < config.server_names_size(); ++i) {
    const absl::Status status = tls::CheckServerName(config.server_names(i));
    if (!status.ok()) problems.push_back({fmt::format("server_names[{}]", i), std::string(status.message())});
  }
  return problems;
}

}  // namespace

absl::StatusOr<CoordinatorCommand> ParseCoordinatorCommand(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "ballast-coordinator");
  app.footer(kFooter);
  config::ConfigFlags flags(kConfigFlags);
  flags.AddTo(&app);
  bool print_version = false;
  app.add_flag("--version", print_version, "Print the version and exit");

  CoordinatorCommand command;
  config::ConfigFlags init_flags(kDirectoryFlags);
  CLI::App* const init = app.add_subcommand("init", "Make a certificate authority: from then on TLS everywhere");
  init_flags.AddTo(init);
  init->add_option("--server-name", command.server_names,
                   "Name or address that devices and users know this machine by, beside those it knows itself; may be "
                   "given several times")
      ->option_text("NAME")
      ->allow_extra_args(false);
  config::ConfigFlags token_flags(kDirectoryFlags);
  CLI::App* const token =
      app.add_subcommand("token", "Make a join token: good for one certificate; works while the coordinator runs");
  token_flags.AddTo(token);
  token->add_option("--role", command.role, "worker, client or admin")->option_text("ROLE (required)");
  token
      ->add_option("--name", command.name,
                   "The only name it may be used for (it takes that over) [any that nobody has had]")
      ->option_text("NAME");
  token->add_option("--ttl", command.ttl, "How long it is valid, at most 7d [15m]")->option_text("TIME");
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
  if (init->parsed()) {
    command.kind = CoordinatorCommand::Kind::kInit;
    BALLAST_RETURN_IF_ERROR(init_flags.Read(&command.config, FindNameProblems));
  } else if (token->parsed()) {
    command.kind = CoordinatorCommand::Kind::kToken;
    BALLAST_RETURN_IF_ERROR(token_flags.Read(&command.config));
  } else {
    BALLAST_RETURN_IF_ERROR(flags.Read(&command.config, FindNameProblems));
  }
  return command;
}

}  // namespace ballast::coordinator
