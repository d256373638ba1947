// ballast models inspect.
#include <map>
#include <memory>

#include <fmt/format.h>

#include "ballast/v1/model.pb.h"
#include "cli/error_text.h"
#include "cli/models.h"
#include "cli/render/model_fields.h"
#include "common/base/status.h"
#include "common/gguf/model_description.h"

namespace ballast::cli {
namespace {

struct InspectFlags {
  std::string file;
  std::string output;
  bool tensors = false;
};

v1::ModelInspection Inspect(const gguf::ModelFile& file, bool tensors) {
  v1::ModelInspection inspection;
  inspection.set_path(file.parts.front().path.string());
  inspection.set_format_version(file.version);
  *inspection.mutable_model() = gguf::DescribeModel(file);
  for (const gguf::KeyValue& entry : file.key_values) *inspection.add_keys() = gguf::DescribeKey(entry);
  if (tensors) {
    for (const gguf::Tensor& tensor : file.tensors) *inspection.add_tensors() = gguf::DescribeTensor(file, tensor);
  }
  return inspection;
}

absl::StatusOr<ExitCode> RunInspect(const InspectFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.file.empty(), "the file", "ballast models inspect FILE"));
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelFile file, ReadModelArgument(flags.file));
  const v1::ModelInspection inspection = Inspect(file, flags.tensors);
  if (output == OutputFormat::kJson) {
    PrintJson(inspection, context);
  } else if (flags.tensors) {
    PrintRecords(inspection.tensors(), TensorFields(), output, context);
  } else if (output == OutputFormat::kCsv) {
    PrintRecords(std::vector<v1::ModelDescription>{inspection.model()}, ModelFields(), output, context);
  } else {
    context.out << ModelDetails(inspection, file, TableWidth(context));
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsInspectCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = tree.Add(
      group, "inspect", "What a model's file holds: shape, level, sizes, keys, tensors. Checks it from end to end.",
      {"ballast models inspect model.gguf", "ballast models inspect model.gguf --tensors",
       "ballast models inspect model-00001-of-00003.gguf --output json"},
      [flags](Context& context) { return RunInspect(*flags, context); });
  command->add_option("file", flags->file, "The file; of a set any one")->type_name("FILE");
  command->add_flag("--tensors", flags->tensors, "The tensors, one a line");
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli
