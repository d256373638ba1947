// Names in messages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ballast::core {

// The first ten names, and how many more there are: a fleet has thousands.
[[nodiscard]] inline std::string Listed(const std::vector<std::string>& names, std::string_view separator = ", ") {
  constexpr std::size_t kMaxListed = 10;
  const std::size_t shown = std::min(names.size(), kMaxListed);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), separator));
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace ballast::core
