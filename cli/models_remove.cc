// ballast models remove
#include <memory>
#include <string>

#include "cli/models.h"
#include "cli/render/list_fields.h"
#include "cli/session.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct RemoveFlags {
  ConnectionFlags connection;
  std::string output;
  std::string model_id;
  std::string quant;
};

absl::StatusOr<ExitCode> RemoveModel(const RemoveFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.model_id.empty() && !flags.quant.empty(), "--model-id and --quant",
                                          "ballast models remove --model-id my-model --quant Q4_K_M"));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::RemoveModelRequest request;
  request.set_model_id(flags.model_id);
  request.set_quant(flags.quant);
  const absl::StatusOr<v1::ModelEntry> removed = session->Call(&v1::ModelService::Stub::RemoveModel, request);
  if (!removed.ok()) return WithNextStep(removed.status(), "ballast models list");
  if (output == OutputFormat::kJson) {
    PrintJson(*removed, context);
  } else {
    PrintRecords(std::vector<v1::ModelEntry>{*removed}, ModelEntryFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsRemoveCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<RemoveFlags>();
  CLI::App* command =
      tree.Add(group, "remove", "Remove a model that was pushed; devices drop theirs when they need room.",
               {"ballast models remove --model-id my-model --quant Q4_K_M"},
               [flags](Context& context) { return RemoveModel(*flags, context); });
  command->add_option("--model-id", flags->model_id, "The model")->type_name("MODEL");
  command->add_option("--quant", flags->quant, "Its level")->type_name("LEVEL");
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
