// ballast models: the commands of the group, one file each.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "cli/command_tree.h"
#include "cli/load_words.h"
#include "common/base/status.h"
#include "common/gguf/model_file.h"
#include "common/gguf/model_shape.h"
#include "common/gguf/quant_mix.h"
#include "google/protobuf/message.h"

namespace ballast::cli {

// Each adds one command below `group`.
void AddModelsInspectCommand(CommandTree& tree, CLI::App* group);
void AddModelsCreateCommand(CommandTree& tree, CLI::App* group);
void AddModelsEstimateCommand(CommandTree& tree, CLI::App* group);
void AddModelsAdviseCommand(CommandTree& tree, CLI::App* group);
void AddModelsListCommand(CommandTree& tree, CLI::App* group);
void AddModelsPushCommand(CommandTree& tree, CLI::App* group);
void AddModelsRemoveCommand(CommandTree& tree, CLI::App* group);

// The shape that --shape names. INVALID_ARGUMENT with the nearest names.
[[nodiscard]] absl::StatusOr<gguf::ModelShape> ParseShape(const std::string& text);

// The levels that --quant names, lowest quality first: a list, or `all`. INVALID_ARGUMENT with the nearest names.
[[nodiscard]] absl::StatusOr<std::vector<gguf::QuantLevel>> ParseLevels(const std::string& text);

// Sets what --loader and --runtime name in a message that has fields of these names; an empty text changes nothing.
// INVALID_ARGUMENT with the nearest names.
template <typename Message>
[[nodiscard]] absl::Status FillHow(const std::string& loader, const std::string& runtime, Message* message) {
  if (!loader.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ModelLoad::Loader value, ParseLoader(loader));
    message->set_loader(value);
  }
  if (!runtime.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ModelLoad::Runtime value, ParseRuntime(runtime));
    message->set_runtime(value);
  }
  return absl::OkStatus();
}

// Sets a field from a flag's text, by the field's own rules. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status SetFromFlag(google::protobuf::Message* message, const std::string& field,
                                       const std::string& flag, const std::string& text);

// The model that a file on the command line holds. INVALID_ARGUMENT where it is no GGUF, was cut off or may not be read;
// NOT_FOUND where there is none. The next step is in it.
[[nodiscard]] absl::StatusOr<gguf::ModelFile> ReadModelArgument(const std::string& path);

// The names there are, for help: `tiny, qwen2.5-0.5b, …`.
[[nodiscard]] std::string ShapeNames();
[[nodiscard]] std::string LevelNames();

}  // namespace ballast::cli
