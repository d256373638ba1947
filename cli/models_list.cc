// ballast models list
#include <memory>
#include <string>

#include "cli/models.h"
#include "cli/render/list_fields.h"
#include "cli/session.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct ListFlags {
  ConnectionFlags connection;
  std::string output;
  std::string model_id;
};

absl::StatusOr<ExitCode> ListModels(const ListFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::ListModelsRequest request;
  request.set_model_id(flags.model_id);
  BALLAST_ASSIGN_OR_RETURN(const v1::ListModelsResponse response,
                           session->Call(&v1::ModelService::Stub::ListModels, request));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
    return ExitCode::kDone;
  }
  PrintRecords(response.entries(), ModelEntryFields(), output, context);
  for (const v1::ModelEntry& entry : response.entries()) {
    if (entry.problem().empty()) continue;
    context.err << fmt::format("{} {} cannot be used: {}\n", entry.model_id(), entry.quant(), entry.problem());
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsListCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<ListFlags>();
  CLI::App* command =
      tree.Add(group, "list", "The models and levels that jobs can name, and where their files come from.",
               {"ballast models list", "ballast models list qwen2.5-7b-zh --output json"},
               [flags](Context& context) { return ListModels(*flags, context); });
  command->add_option("model", flags->model_id, "Only this model")->type_name("MODEL");
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
