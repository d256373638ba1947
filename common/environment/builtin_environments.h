// The profiles that come with the programs. Private to common/environment.
#pragma once

#include <string_view>

namespace ballast::profiles {

// The text of configs/low_mem_env.yaml.
[[nodiscard]] std::string_view BuiltinEnvironmentsText();

}  // namespace ballast::profiles
