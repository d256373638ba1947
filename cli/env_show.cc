// ballast env show
#include <memory>

#include "cli/env.h"
#include "cli/environments.h"
#include "cli/render/environment_fields.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct Flags {
  std::string name;
  std::string file;
  std::string output;
};

absl::StatusOr<ExitCode> ShowEnvironment(const Flags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile profile,
                           GetEnvironment(flags.name, flags.file, "ballast env show 2gb-noswap", context));
  switch (output) {
    case OutputFormat::kTable:
      context.out << EnvironmentDetails(profile);
      break;
    case OutputFormat::kJson:
      PrintJson(profile, context);
      break;
    case OutputFormat::kCsv:
      PrintRecords(std::vector<v1::EnvironmentProfile>{profile}, EnvironmentFields(), output, context);
      break;
  }
  return ExitCode::kDone;
}

}  // namespace

void AddEnvShowCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(group, "show", "One profile in full.",
                               {"ballast env show 极限2GB模式", "ballast env show 2gb-noswap --output json"},
                               [flags](Context& context) { return ShowEnvironment(*flags, context); });
  command->add_option("name", flags->name, "Name or alias")->type_name("NAME");
  AddEnvironmentFileFlag(command, &flags->file);
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli
