// What a label of a device may be.
#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::base {

// How many labels a device may have.
inline constexpr std::size_t kMaxLabels = 64;

// INVALID_ARGUMENT for keys and values that could not be written as `key=value,key=value`, that are longer than 128
// bytes, or that have control characters or marks that turn the direction of text (IsUnsafe).
[[nodiscard]] absl::Status CheckLabel(std::string_view key, std::string_view value);

}  // namespace ballast::base
