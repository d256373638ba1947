// Models as tables, and one in full.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/model.pb.h"
#include "cli/render/records.h"
#include "common/gguf/model_file.h"

namespace ballast::cli {

[[nodiscard]] std::vector<Field<v1::ModelDescription>> ModelFields();
[[nodiscard]] std::vector<Field<v1::TensorDescription>> TensorFields();
[[nodiscard]] std::vector<Field<v1::LoadEstimate>> EstimateFields();

// For people: `name: value` lines, the types of its tensors, its keys. `file` is the one that was inspected.
[[nodiscard]] std::string ModelDetails(const v1::ModelInspection& inspection, const gguf::ModelFile& file,
                                       std::optional<std::size_t> max_columns);

}  // namespace ballast::cli
