#include "worker/agent/worker_flags.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "common/base/characters.h"
#include "common/base/label.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/config/config_flags.h"
#include "common/config/field_rules.h"
#include "common/tls/join_token.h"
#include "worker/agent/command_catalogue.h"

namespace ballast::agent {
namespace {

constexpr char kDescription[] =
    "Ballast's worker: makes this machine a device on which jobs put memory under pressure.\n"
    "It connects to a coordinator and carries out what that hands it, one run at a time.";
constexpr char kFooter[] =
    "Examples:\n"
    "  ballast-worker --data-dir /var/lib/ballast/worker\n"
    "  ballast-worker --data-dir /var/lib/ballast/worker --join TOKEN@lab.example.org:7850\n"
    "  ballast-worker --config /etc/ballast/worker.yaml --labels class=low-end,site=lab-1\n"
    "  ballast-worker --run-environment 2gb.yaml -- ./program --its-own-flags\n"
    "\n"
    "Exit codes: 0 ended by SIGTERM or SIGINT, 1 could not work, 2 wrong usage or configuration; with "
    "--run-environment\n"
    "the command's own or 128 + its signal (137 where it was OOM-killed), 6 the environment is refused, 126 the "
    "command\n"
    "cannot be executed, 127 there is no such command.";

constexpr std::array kConfigFlags = {
    config::ConfigFlag{"--coordinator", "coordinator", "ADDR",
                       "Address of the coordinator: HOST:PORT or unix:/PATH [127.0.0.1:7850]"},
    config::ConfigFlag{"--data-dir", "data_dir", "DIR",
                       "Directory of the device's identifier and its spool; made where missing"},
    config::ConfigFlag{"--device-id", "device_id", "ID",
                       "Identifier of the device [made once and kept in the data directory]"},
    config::ConfigFlag{"--spool-quota", "spool_quota_bytes", "SIZE", "Most telemetry that waits on disk [256MiB]"},
    config::ConfigFlag{"--model-quota", "model_quota_bytes", "SIZE", "Most model files that are kept [32GiB]"},
    config::ConfigFlag{"--reconnect-max", "reconnect_max", "TIME", "Longest time between two tries to connect [30s]"},
    config::ConfigFlag{"--log-level", "log_level", "LEVEL", "trace, debug, info, warn or error [info]"},
    config::ConfigFlag{"--labels", "labels", "K=V,…", "Labels, by which jobs choose devices"},
    config::ConfigFlag{"--join", "join", "TOKEN@ADDR",
                       "Join the coordinator at HOST:PORT with a token, where there is no certificate yet"},
    config::ConfigFlag{"--insecure", "insecure", nullptr, "Send plain text to addresses other than loopback"},
};

// Labels that every coordinator would refuse, and the worker with them.
std::vector<config::Violation> FindLabelProblems(const v1::WorkerConfig& config) {
  std::vector<config::Violation> problems;
  if (config.labels().size() > base::kMaxLabels) {
    problems.push_back(
        {"labels", fmt::format("there are {} labels; a device may have {}", config.labels().size(), base::kMaxLabels)});
  }
  const std::map<std::string, std::string> sorted(config.labels().begin(), config.labels().end());
  for (const auto& [key, value] : sorted) {
    const absl::Status status = base::CheckLabel(key, value);
    if (status.ok()) continue;
    // A path is printed as it is.
    problems.push_back({base::HasUnsafeCharacters(key) ? "labels" : "labels." + key, std::string(status.message())});
  }
  return problems;
}

std::vector<config::Violation> FindProblems(const google::protobuf::Message& message) {
  const auto& config = static_cast<const v1::WorkerConfig&>(message);
  std::vector<config::Violation> problems = CommandCatalogue::FindProblems(config.commands());
  for (config::Violation& problem : FindLabelProblems(config)) problems.push_back(std::move(problem));
  return problems;
}

// A token for another device would be used up, and make this one that other.
absl::Status CheckNameOfToken(const v1::WorkerConfig& config) {
  const absl::StatusOr<tls::JoinTarget> target = tls::SplitJoinTarget(config.join());
  if (!target.ok() || config.device_id().empty()) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::ReadJoinToken(target->token));
  if (token.role != v1::WORKER || token.name.empty() || token.name == config.device_id()) return absl::OkStatus();
  return base::WithNextStep(
      absl::InvalidArgumentError(fmt::format("the join token is for device {}, and --device-id says {}",
                                             base::Quoted(token.name), base::Quoted(config.device_id()))),
      fmt::format("leave --device-id out, or ask for a token: ballast token create --role worker --name {}",
                  config.device_id()));
}

}  // namespace

absl::StatusOr<WorkerCommand> ParseWorkerCommand(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "ballast-worker");
  app.footer(kFooter);
  config::ConfigFlags flags(kConfigFlags);
  flags.AddTo(&app);
  bool print_version = false;
  bool print_facts = false;
  bool runner = false;
  std::string environment_file;
  app.add_flag("--print-facts", print_facts, "Print what this device is and can do, as JSON, and exit");
  app.add_flag("--version", print_version, "Print the version and exit");
  app.add_option("--run-environment", environment_file,
                 "Run the command behind `--` in the environment whose profile FILE holds, and exit as it does")
      ->type_name("FILE");
  app.add_flag("--runner", runner)->group("");

  WorkerCommand command;
  // What is behind the mark is the command's own business.
  const auto mark = std::ranges::find(arguments, "--");
  const bool marked = mark != arguments.end();
  if (marked) command.argv.assign(mark + 1, arguments.end());
  arguments.erase(mark, arguments.end());
  BALLAST_ASSIGN_OR_RETURN(command.text, config::ConfigFlags::Parse(&app, std::move(arguments)));
  if (!command.text.empty()) {
    command.kind = WorkerCommand::Kind::kPrint;
    return command;
  }
  if (environment_file.empty() == marked || (marked && command.argv.empty())) {
    return absl::InvalidArgumentError(
        "a command is run by `ballast-worker --run-environment FILE -- COMMAND…`, and needs both");
  }
  if (marked) {
    command.kind = WorkerCommand::Kind::kEnvironment;
    command.text = std::move(environment_file);
  } else if (runner) {
    command.kind = WorkerCommand::Kind::kRun;
  } else if (print_version) {
    command.kind = WorkerCommand::Kind::kPrint;
    command.text = fmt::format("ballast-worker {}\n", base::kVersion);
  } else if (print_facts) {
    command.kind = WorkerCommand::Kind::kPrintFacts;
    config::ApplyDefaults(&command.config);
  } else {
    BALLAST_RETURN_IF_ERROR(flags.Read(&command.config, FindProblems));
    // One that is empty came from a variable that was not set.
    if (command.config.has_join()) BALLAST_RETURN_IF_ERROR(tls::SplitJoinTarget(command.config.join()).status());
    BALLAST_RETURN_IF_ERROR(CheckNameOfToken(command.config));
  }
  return command;
}

std::string CoordinatorAddress(const v1::WorkerConfig& config) {
  v1::WorkerConfig defaults;
  config::ApplyDefaults(&defaults);
  const std::size_t at = config.join().rfind('@');
  if (at == std::string::npos || config.coordinator() != defaults.coordinator()) return config.coordinator();
  return config.join().substr(at + 1);
}

}  // namespace ballast::agent
