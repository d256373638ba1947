#include "worker/agent/worker_flags.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"

namespace ballast::agent {
namespace {

constexpr char kDescription[] =
    "Ballast's worker: makes this machine a device on which jobs put memory under pressure.\n"
    "It connects to a coordinator and carries out what that hands it, one run at a time.";
constexpr char kFooter[] =
    "Examples:\n"
    "  ballast-worker --data-dir /var/lib/ballast/worker\n"
    "  ballast-worker --config /etc/ballast/worker.yaml --labels class=low-end,site=lab-1\n"
    "\n"
    "Exit codes: 0 ended by SIGTERM or SIGINT, 1 could not work, 2 wrong usage or configuration.";

// A flag that sets one field of the configuration.
struct ConfigFlag {
  const char* flag;
  const char* field;
  const char* value_name;
  const char* help;
};
constexpr std::array kConfigFlags = {
    ConfigFlag{"--coordinator", "coordinator", "ADDR",
               "Address of the coordinator: HOST:PORT or unix:/PATH [127.0.0.1:7850]"},
    ConfigFlag{"--data-dir", "data_dir", "DIR",
               "Directory of the device's identifier and its spool; made where missing"},
    ConfigFlag{"--device-id", "device_id", "ID", "Identifier of the device [made once and kept in the data directory]"},
    ConfigFlag{"--spool-quota", "spool_quota_bytes", "SIZE", "Most telemetry that waits on disk [256MiB]"},
    ConfigFlag{"--reconnect-max", "reconnect_max", "TIME", "Longest time between two tries to connect [30s]"},
    ConfigFlag{"--log-level", "log_level", "LEVEL", "trace, debug, info, warn or error [info]"},
};

absl::Status SetFromFlag(v1::WorkerConfig* config, std::string_view flag, std::string_view path,
                         const std::string& text) {
  const absl::Status status = config::SetField(config, path, text);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(fmt::format("{} {}: {}", flag, text, std::string(status.message())));
}

// `k=v,k=v` as entries of `labels`.
absl::Status SetLabels(v1::WorkerConfig* config, const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return absl::InvalidArgumentError(fmt::format("--labels {}: '{}' is not KEY=VALUE", text, pair));
    }
    (*config->mutable_labels())[std::string(pair.substr(0, equals))] = std::string(pair.substr(equals + 1));
  }
  return absl::OkStatus();
}

struct Given {
  std::string config_file;
  std::array<std::optional<std::string>, kConfigFlags.size()> fields;
  std::optional<std::string> labels;
  bool insecure = false;
};

absl::Status Apply(const Given& given, v1::WorkerConfig* config) {
  for (std::size_t i = 0; i < kConfigFlags.size(); ++i) {
    if (!given.fields[i]) continue;
    BALLAST_RETURN_IF_ERROR(SetFromFlag(config, kConfigFlags[i].flag, kConfigFlags[i].field, *given.fields[i]));
  }
  if (given.labels) BALLAST_RETURN_IF_ERROR(SetLabels(config, *given.labels));
  if (given.insecure) config->set_insecure(true);
  return absl::OkStatus();
}

absl::StatusOr<v1::WorkerConfig> ReadConfig(const Given& given) {
  v1::WorkerConfig config;
  BALLAST_RETURN_IF_ERROR(Apply(given, &config));
  if (!given.config_file.empty()) {
    // Over the flags, so that a flag satisfies what the file leaves out, and then the flags again, because they win.
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

absl::StatusOr<WorkerCommand> ParseWorkerCommand(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "ballast-worker");
  app.footer(kFooter);
  Given given;
  bool print_version = false;
  bool print_facts = false;
  bool runner = false;
  app.add_option("--config", given.config_file, "Configuration file (YAML); flags win over it")->option_text("FILE");
  for (std::size_t i = 0; i < kConfigFlags.size(); ++i) {
    app.add_option(kConfigFlags[i].flag, given.fields[i], kConfigFlags[i].help)
        ->option_text(kConfigFlags[i].value_name);
  }
  app.add_option("--labels", given.labels, "Labels, by which jobs choose devices")->option_text("K=V,…");
  app.add_flag("--insecure", given.insecure, "Send plain text to addresses other than loopback");
  app.add_flag("--print-facts", print_facts, "Print what this device is and can do, as JSON, and exit");
  app.add_flag("--version", print_version, "Print the version and exit");
  app.add_flag("--runner", runner)->group("");

  std::ranges::reverse(arguments);  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return WorkerCommand{.kind = WorkerCommand::Kind::kPrint, .config = {}, .text = app.help()};
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  WorkerCommand command;
  if (runner) {
    command.kind = WorkerCommand::Kind::kRun;
  } else if (print_version) {
    command.kind = WorkerCommand::Kind::kPrint;
    command.text = fmt::format("ballast-worker {}\n", base::kVersion);
  } else if (print_facts) {
    command.kind = WorkerCommand::Kind::kPrintFacts;
  } else {
    BALLAST_ASSIGN_OR_RETURN(command.config, ReadConfig(given));
  }
  return command;
}

}  // namespace ballast::agent
