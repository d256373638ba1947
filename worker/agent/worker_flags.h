// The command line of ballast-worker.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"

namespace ballast::agent {

// What the program was asked to do.
struct WorkerCommand {
  enum class Kind {
    kServe,        // be a worker, with `config`
    kPrint,        // print `text` and end
    kPrintFacts,   // print the facts of this device and end
    kRun,          // be a runner: started by the agent alone
    kEnvironment,  // run `argv` in the environment that `text` names the file of
  };
  Kind kind = Kind::kServe;
  v1::WorkerConfig config;
  std::string text;
  std::vector<std::string> argv;
};

// Reads the arguments (without the program's name), and the configuration file they name; flags win over the file.
// INVALID_ARGUMENT or NOT_FOUND: a usage error or an invalid configuration; the message has lines `FILE:LINE:COLUMN:
// problem` for the file.
[[nodiscard]] absl::StatusOr<WorkerCommand> ParseWorkerCommand(std::vector<std::string> arguments);

// Where the coordinator is: that of `join`, where `coordinator` is left at its default.
[[nodiscard]] std::string CoordinatorAddress(const v1::WorkerConfig& config);

}  // namespace ballast::agent
