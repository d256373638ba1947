// The command line of ballast-coordinator.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"

namespace ballast::coordinator {

// What the program was asked to do.
struct CoordinatorCommand {
  enum class Kind {
    kServe,  // be a coordinator, with `config`
    kPrint,  // print `text` and end
    kInit,   // make a certificate authority in `config`'s data directory
    kToken,  // make a join token
  };
  Kind kind = Kind::kServe;
  v1::CoordinatorConfig config;
  std::string text;
  std::vector<std::string> server_names;  // of kInit: beside those of `config`
  std::string role;                       // of kToken, as written, as are the next two
  std::string name;                       // empty: any
  std::string ttl;                        // empty: the default
};

// Reads the arguments (without the program's name), and the configuration file they name; flags win over the file.
// INVALID_ARGUMENT, NOT_FOUND or PERMISSION_DENIED: a usage error or an invalid configuration; the message has lines
// `FILE:LINE:COLUMN: problem` for the file.
[[nodiscard]] absl::StatusOr<CoordinatorCommand> ParseCoordinatorCommand(std::vector<std::string> arguments);

}  // namespace ballast::coordinator
