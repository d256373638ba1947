// ballast models estimate.
#include <memory>

#include <fmt/format.h>

#include "ballast/v1/model.pb.h"
#include "cli/error_text.h"
#include "cli/models.h"
#include "cli/render/model_fields.h"
#include "common/base/status.h"
#include "common/gguf/memory_estimate.h"
#include "common/gguf/model_description.h"
#include "common/gguf/synthetic_model.h"

namespace ballast::cli {
namespace {

struct EstimateFlags {
  std::string file;
  std::string shape;
  std::string quant;
  std::string loader;
  std::string runtime;
  std::string context;
  bool lock = false;
  bool no_repack = false;
  std::string output;
};

absl::StatusOr<v1::ModelLoad> ReadLoad(const EstimateFlags& flags) {
  v1::ModelLoad load;
  load.set_loader(v1::ModelLoad::MMAP);
  load.set_runtime(v1::ModelLoad::BUILTIN);
  BALLAST_RETURN_IF_ERROR(FillHow(flags.loader, flags.runtime, &load));
  BALLAST_RETURN_IF_ERROR(
      SetFromFlag(&load, "context_tokens", "--context", flags.context.empty() ? "512" : flags.context));
  load.set_lock(flags.lock);
  load.set_no_repack(flags.no_repack);
  BALLAST_RETURN_IF_ERROR(CheckRuntimeFlags(load.runtime(), flags.no_repack, !flags.context.empty()));
  return load;
}

absl::StatusOr<std::vector<v1::ModelDescription>> FindModels(const EstimateFlags& flags) {
  std::vector<v1::ModelDescription> models;
  if (flags.file.empty() == flags.shape.empty()) {
    return WithNextStep(absl::InvalidArgumentError(flags.file.empty() ? "the file or --shape is missing"
                                                                      : "a file and --shape exclude each other"),
                        "ballast models estimate FILE, or --shape qwen2.5-7b --quant all");
  }
  if (!flags.file.empty()) {
    if (!flags.quant.empty()) {
      return WithNextStep(absl::InvalidArgumentError("--quant belongs to --shape; a file has its level"),
                          "ballast models estimate FILE");
    }
    BALLAST_ASSIGN_OR_RETURN(const gguf::ModelFile file, ReadModelArgument(flags.file));
    models.push_back(gguf::DescribeModel(file));
    return models;
  }
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelShape shape, ParseShape(flags.shape));
  BALLAST_ASSIGN_OR_RETURN(const auto levels, ParseLevels(flags.quant.empty() ? "all" : flags.quant));
  for (const gguf::QuantLevel level : levels) {
    models.push_back(gguf::DescribeSyntheticModel(shape, level));
  }
  return models;
}

absl::StatusOr<ExitCode> RunEstimate(const EstimateFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const v1::ModelLoad load, ReadLoad(flags));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<v1::ModelDescription> models, FindModels(flags));
  if (load.runtime() == v1::ModelLoad::LLAMA_CPP && models.front().layer_count() == 0) {
    context.err << fmt::format("warning: {} has no shape of a language model: the KV cache is not counted\n",
                               flags.file);
  }
  v1::LoadEstimates answer;
  for (const v1::ModelDescription& model : models) {
    v1::LoadEstimate& entry = *answer.add_estimates();
    *entry.mutable_model() = model;
    *entry.mutable_load() = load;
    *entry.mutable_estimate() = gguf::EstimateMemory(model, load);
  }
  if (output == OutputFormat::kJson) {
    PrintJson(answer, context);
  } else {
    PrintRecords(answer.estimates(), EstimateFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsEstimateCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<EstimateFlags>();
  CLI::App* command = tree.Add(
      group, "estimate", "How much memory a load needs: what must fit, and what may be dropped and read again.",
      {"ballast models estimate model.gguf", "ballast models estimate --shape qwen2.5-7b --quant all",
       "ballast models estimate --shape qwen2.5-7b --runtime llama.cpp --no-repack --context 2048"},
      [flags](Context& context) { return RunEstimate(*flags, context); });
  command->add_option("file", flags->file, "A model's file")->type_name("FILE");
  command->add_option("--shape", flags->shape, "Instead of a file: one of " + ShapeNames())->type_name("SHAPE");
  command->add_option("--quant", flags->quant, fmt::format("With --shape: all (default), or of {}", LevelNames()))
      ->type_name("LEVELS");
  command->add_option("--loader", flags->loader, "mmap, mmap+populate, read or direct (default mmap)")
      ->type_name("WAY");
  command->add_option("--runtime", flags->runtime, "builtin or llama.cpp (default builtin)")->type_name("RUNTIME");
  command->add_option("--context", flags->context, "Tokens that llama.cpp makes room for (default 512)")
      ->type_name("N");
  command->add_flag("--lock", flags->lock, "The weights are locked in memory");
  command->add_flag("--no-repack", flags->no_repack, "llama.cpp leaves the weights as they are in the file");
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli
