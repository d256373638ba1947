#include "coordinator/rpc/maintenance_flags.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "CLI/CLI.hpp"
#include "ballast/v1/config.pb.h"
#include "common/base/status.h"
#include "common/config/config_flags.h"

namespace ballast::coordinator {
namespace {

struct Verb {
  std::string_view name;
  MaintenanceCommand::Kind kind;
  const char* description;
  const char* file;  // what its file is; null where it has none
  const char* footer;
};

constexpr std::array kVerbs = {
    Verb{
        "backup", MaintenanceCommand::Kind::kBackup,
        "Copies the database to one file, also while a coordinator is running: of one moment, checked, all or nothing.",
        "The file that is written",
        "Models that were pushed and certificates are files of the data directory and are not in it.\n"
        "Example: ballast-coordinator backup /backup/ballast.db --data-dir /var/lib/ballast/coordinator"},
    Verb{"restore", MaintenanceCommand::Kind::kRestore,
         "Puts a copy of a database, after it was checked, into a data directory that has none.", "The copy",
         "Example: ballast-coordinator restore /backup/ballast.db --data-dir /var/lib/ballast/coordinator"},
    Verb{"compact", MaintenanceCommand::Kind::kCompact,
         "Writes the database anew without its free space, while no coordinator is running.", nullptr,
         "Databases that earlier versions made give space back while they are in use only after this.\n"
         "Example: ballast-coordinator compact --data-dir /var/lib/ballast/coordinator"},
};

constexpr std::array kConfigFlags = {
    config::ConfigFlag{"--data-dir", "data_dir", "DIR", "Directory of the database"},
};

const Verb* FindVerb(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return nullptr;
  const auto verb = std::ranges::find(kVerbs, arguments.front(), &Verb::name);
  return verb == kVerbs.end() ? nullptr : &*verb;
}

}  // namespace

bool IsMaintenanceCommand(const std::vector<std::string>& arguments) {
  return FindVerb(arguments) != nullptr;
}

absl::StatusOr<MaintenanceCommand> ParseMaintenanceCommand(std::vector<std::string> arguments) {
  const Verb* const verb = FindVerb(arguments);
  if (verb == nullptr) return absl::InvalidArgumentError("backup, restore or compact is wanted");
  arguments.erase(arguments.begin());
  CLI::App app(verb->description, fmt::format("ballast-coordinator {}", verb->name));
  app.footer(verb->footer);
  MaintenanceCommand command;
  if (verb->file != nullptr) app.add_option("FILE", command.file, verb->file)->required()->type_name("");
  if (verb->kind == MaintenanceCommand::Kind::kBackup) {
    app.add_flag("--force", command.force, "Replace a file that exists");
  }
  config::ConfigFlags flags(kConfigFlags);
  flags.AddTo(&app);
  BALLAST_ASSIGN_OR_RETURN(command.text, config::ConfigFlags::Parse(&app, std::move(arguments)));
  if (!command.text.empty()) return command;
  v1::CoordinatorConfig config;
  BALLAST_RETURN_IF_ERROR(flags.Read(&config));
  command.kind = verb->kind;
  command.data_dir = config.data_dir();
  return command;
}

}  // namespace ballast::coordinator
