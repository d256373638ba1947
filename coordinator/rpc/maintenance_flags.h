// The command line of what ballast-coordinator does with a database instead of serving it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast::coordinator {

// What is to be done with the database in `data_dir`.
struct MaintenanceCommand {
  enum class Kind {
    kBackup,   // copy it to `file`
    kRestore,  // put the copy in `file` in its place
    kCompact,  // write it anew without its free space
    kPrint,    // nothing: print `text` and end
  };
  Kind kind = Kind::kPrint;
  std::string data_dir;
  std::string file;
  bool force = false;  // an existing file is replaced
  std::string text;
};

// Whether the arguments (without the program's name) name such a command.
[[nodiscard]] bool IsMaintenanceCommand(const std::vector<std::string>& arguments);

// Reads them, and where they name a configuration file its `data_dir`. Codes as in ParseCoordinatorCommand.
[[nodiscard]] absl::StatusOr<MaintenanceCommand> ParseMaintenanceCommand(std::vector<std::string> arguments);

}  // namespace ballast::coordinator
