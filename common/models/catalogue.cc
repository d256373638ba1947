#include "common/models/catalogue.h"

#include <strings.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"
#include "common/models/builtin_catalogue.h"

namespace ballast::models {
namespace {

// For both kinds of access: an entry of a list by one of its texts.
template <typename Entries, typename Matches>
auto* Find(Entries& entries, const Matches& matches) {
  const auto found = std::ranges::find_if(entries, matches);
  return found == entries.end() ? nullptr : &*found;
}

auto HasId(const std::string& model_id) {
  return [&model_id](const v1::CatalogueModel& model) { return model.model_id() == model_id; };
}

auto IsLevel(const std::string& quant) {
  return [&quant](const v1::CatalogueLevel& level) { return ::strcasecmp(level.quant().c_str(), quant.c_str()) == 0; };
}

// "did you mean …?", or what there is.
std::string Hint(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string nearest = config::DidYouMean(name, candidates);
  return nearest.empty() ? fmt::format("there are {}", fmt::join(candidates, ", ")) : nearest;
}

absl::Status CheckFiles(const v1::ModelCatalogue& catalogue, const std::filesystem::path& file) {
  for (const v1::CatalogueModel& model : catalogue.models()) {
    for (const v1::CatalogueLevel& level : model.levels()) {
      if (!level.has_file() || !level.file().path().empty() || !level.file().sha256().empty()) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: {} {} is a file without a path; give `path`, or `sha256` where it was pushed", file.string(),
                      model.model_id(), level.quant()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ModelCatalogue> LoadCatalogue(const std::filesystem::path& file) {
  v1::ModelCatalogue builtin;
  BALLAST_RETURN_IF_ERROR(config::ReadYaml(BuiltinCatalogueText(), "the catalogue that comes with it", &builtin));
  if (file.empty()) return builtin;
  v1::ModelCatalogue catalogue;
  BALLAST_RETURN_IF_ERROR(config::ReadYamlFile(file, &catalogue));
  BALLAST_RETURN_IF_ERROR(CheckFiles(catalogue, file));
  const std::filesystem::path directory = std::filesystem::absolute(file).parent_path();
  for (v1::CatalogueModel& model : *catalogue.mutable_models()) {
    for (v1::CatalogueLevel& level : *model.mutable_levels()) {
      if (!level.has_file() || level.file().path().empty()) continue;
      level.mutable_file()->set_path((directory / level.file().path()).lexically_normal().string());
    }
  }
  for (v1::CatalogueModel& model : *builtin.mutable_models()) {
    if (FindModel(catalogue, model.model_id()) == nullptr) catalogue.add_models()->Swap(&model);
  }
  return catalogue;
}

const v1::CatalogueModel* FindModel(const v1::ModelCatalogue& catalogue, const std::string& model_id) {
  return Find(catalogue.models(), HasId(model_id));
}

const v1::CatalogueLevel* FindLevel(const v1::CatalogueModel& model, const std::string& quant) {
  return Find(model.levels(), IsLevel(quant));
}

absl::StatusOr<const v1::CatalogueModel*> GetModel(const v1::ModelCatalogue& catalogue, const std::string& model_id) {
  if (const v1::CatalogueModel* model = FindModel(catalogue, model_id)) return model;
  std::vector<std::string> names;
  for (const v1::CatalogueModel& model : catalogue.models()) names.push_back(model.model_id());
  return absl::NotFoundError(
      fmt::format("no model {} in the catalogue; {}", base::Quoted(model_id), Hint(model_id, names)));
}

absl::StatusOr<const v1::CatalogueLevel*> GetLevel(const v1::CatalogueModel& model, const std::string& quant) {
  if (const v1::CatalogueLevel* level = FindLevel(model, quant)) return level;
  std::vector<std::string> names;
  for (const v1::CatalogueLevel& level : model.levels()) names.push_back(level.quant());
  return absl::NotFoundError(
      fmt::format("model {} has no level {}; {}", model.model_id(), base::Quoted(quant), Hint(quant, names)));
}

void Overlay(const v1::ModelCatalogue& pushed, v1::ModelCatalogue* catalogue) {
  for (const v1::CatalogueModel& source : pushed.models()) {
    v1::CatalogueModel* const target = Find(*catalogue->mutable_models(), HasId(source.model_id()));
    if (target == nullptr) {
      *catalogue->add_models() = source;
      continue;
    }
    if (!source.description().empty()) target->set_description(source.description());
    for (const v1::CatalogueLevel& level : source.levels()) {
      if (v1::CatalogueLevel* const known = Find(*target->mutable_levels(), IsLevel(level.quant()))) {
        *known = level;
      } else {
        *target->add_levels() = level;
      }
    }
  }
}

}  // namespace ballast::models
