// Which models there are: the catalogue that comes with the program, behind the user's own.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"

namespace ballast::models {

// Reads the user's catalogue, where `file` names one, and puts its models before those that come with the program: a
// model that both have is the user's alone. Paths of files become absolute; no file is looked at. INVALID_ARGUMENT
// lists every problem, one a line, as `FILE:LINE:COLUMN: problem`; NOT_FOUND and PERMISSION_DENIED name the file.
[[nodiscard]] absl::StatusOr<v1::ModelCatalogue> LoadCatalogue(const std::filesystem::path& file);

// The model with this identifier, its level of this name (case ignored); null where there is none.
[[nodiscard]] const v1::CatalogueModel* FindModel(const v1::ModelCatalogue& catalogue, const std::string& model_id);
[[nodiscard]] const v1::CatalogueLevel* FindLevel(const v1::CatalogueModel& model, const std::string& quant);

// The same, NOT_FOUND with the nearest names where there is none.
[[nodiscard]] absl::StatusOr<const v1::CatalogueModel*> GetModel(const v1::ModelCatalogue& catalogue,
                                                                 const std::string& model_id);
[[nodiscard]] absl::StatusOr<const v1::CatalogueLevel*> GetLevel(const v1::CatalogueModel& model,
                                                                 const std::string& quant);

// `catalogue` with the levels of `pushed` in it: a level that both have is the pushed one.
void Overlay(const v1::ModelCatalogue& pushed, v1::ModelCatalogue* catalogue);

}  // namespace ballast::models
