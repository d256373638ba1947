// The catalogue that comes with the program.
#pragma once

#include <string_view>

namespace ballast::models {

// The text of configs/models.yaml as it was when the program was built.
[[nodiscard]] std::string_view BuiltinCatalogueText();

}  // namespace ballast::models
