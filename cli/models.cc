// ballast models: the group, and the values that its commands share.
#include "cli/models.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

std::vector<std::string> AllShapes() {
  std::vector<std::string> names;
  for (const gguf::ModelShape& shape : gguf::KnownShapes()) names.push_back(shape.name);
  return names;
}

std::vector<std::string> AllLevels() {
  std::vector<std::string> names;
  for (const gguf::QuantLevel level : gguf::LevelsByQuality()) names.emplace_back(gguf::NameOf(level));
  return names;
}

absl::Status UnknownName(const char* flag, const std::string& what, const std::string& name,
                         const std::vector<std::string>& names) {
  const std::string near = config::DidYouMean(name, names);
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: there is no {} {}{}", flag, what, base::Quoted(name),
                                                             near.empty() ? "" : "; " + near)),
                      fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace

std::string ShapeNames() {
  return fmt::format("{}", fmt::join(AllShapes(), ", "));
}

std::string LevelNames() {
  return fmt::format("{}", fmt::join(AllLevels(), ", "));
}

absl::StatusOr<gguf::ModelShape> ParseShape(const std::string& text) {
  auto shape = gguf::FindShape(text);
  if (!shape.ok()) return UnknownName("--shape", "shape", text, AllShapes());
  return shape;
}

absl::StatusOr<std::vector<gguf::QuantLevel>> ParseLevels(const std::string& text) {
  const auto all = gguf::LevelsByQuality();
  if (text == "all") return std::vector<gguf::QuantLevel>(all.begin(), all.end());
  std::vector<gguf::QuantLevel> named;
  for (const std::string& name : SplitList(text)) {
    const auto level = gguf::FindQuantLevel(name);
    if (!level.ok()) return UnknownName("--quant", "level", name, AllLevels());
    named.push_back(*level);
  }
  if (named.empty()) return UnknownName("--quant", "level", text, AllLevels());
  std::vector<gguf::QuantLevel> ordered;
  std::copy_if(all.begin(), all.end(), std::back_inserter(ordered), [&named](gguf::QuantLevel level) {
    return std::find(named.begin(), named.end(), level) != named.end();
  });
  return ordered;
}

absl::Status SetFromFlag(google::protobuf::Message* message, const std::string& field, const std::string& flag,
                         const std::string& text) {
  const absl::Status set = config::SetField(message, field, text);
  if (set.ok()) return set;
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {}", flag, std::string(set.message()))),
                      fmt::format("{} with a whole number", flag));
}

absl::StatusOr<gguf::ModelFile> ReadModelArgument(const std::string& path) {
  auto file = gguf::ReadModelFile(path);
  if (file.ok()) return file;
  const std::string message(file.status().message());
  if (absl::IsDataLoss(file.status())) {
    return WithNextStep(absl::InvalidArgumentError(message), "fetch or copy the file again");
  }
  if (absl::IsPermissionDenied(file.status())) {
    return WithNextStep(absl::InvalidArgumentError(message), "a file that this user can read");
  }
  return WithNextStep(file.status(), "give the path of a GGUF file");
}

void AddModelsCommands(CommandTree& tree) {
  CLI::App* group = tree.AddGroup(
      "models", "Models: which there are, what a file holds and needs, models made for tests, and which level to use.");
  AddModelsListCommand(tree, group);
  AddModelsPushCommand(tree, group);
  AddModelsRemoveCommand(tree, group);
  AddModelsInspectCommand(tree, group);
  AddModelsCreateCommand(tree, group);
  AddModelsEstimateCommand(tree, group);
  AddModelsAdviseCommand(tree, group);
}

}  // namespace ballast::cli
