// ballast env list
#include <memory>

#include "cli/env.h"
#include "cli/environments.h"
#include "cli/render/environment_fields.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct Flags {
  std::string file;
  std::string output;
};

absl::StatusOr<ExitCode> ListEnvironments(const Flags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, LoadAllEnvironments(flags.file, context));
  if (output == OutputFormat::kJson) {
    PrintJson(catalogue, context);
  } else {
    PrintRecords(catalogue.environments(), EnvironmentFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddEnvListCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(group, "list", "The profiles that there are: your own, then those of the program.",
                               {"ballast env list", "ballast env list --env-file mine.yaml --output json"},
                               [flags](Context& context) { return ListEnvironments(*flags, context); });
  AddEnvironmentFileFlag(command, &flags->file);
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli
