// ballast models: the commands of the group, one file each.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/command_tree.h"
#include "common/gguf/model_shape.h"
#include "common/gguf/quant_mix.h"
#include "google/protobuf/message.h"

namespace ballast::cli {

// Each adds one command below `group`.
void AddModelsInspectCommand(CommandTree& tree, CLI::App* group);
void AddModelsCreateCommand(CommandTree& tree, CLI::App* group);
void AddModelsEstimateCommand(CommandTree& tree, CLI::App* group);
void AddModelsListCommand(CommandTree& tree, CLI::App* group);
void AddModelsPushCommand(CommandTree& tree, CLI::App* group);
void AddModelsRemoveCommand(CommandTree& tree, CLI::App* group);

// The shape that --shape names. INVALID_ARGUMENT with the nearest names.
[[nodiscard]] absl::StatusOr<gguf::ModelShape> ParseShape(const std::string& text);

// The levels that --quant names, lowest quality first: a list, or `all`. INVALID_ARGUMENT with the nearest names.
[[nodiscard]] absl::StatusOr<std::vector<gguf::QuantLevel>> ParseLevels(const std::string& text);

// Sets a field from a flag's text, by the field's own rules. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status SetFromFlag(google::protobuf::Message* message, const std::string& field,
                                       const std::string& flag, const std::string& text);

// The names there are, for help: `tiny, qwen2.5-0.5b, …`.
[[nodiscard]] std::string ShapeNames();
[[nodiscard]] std::string LevelNames();

}  // namespace ballast::cli
