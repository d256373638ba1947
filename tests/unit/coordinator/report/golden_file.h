// Golden files: committed results that a test compares byte for byte.
#pragma once

#include <filesystem>
#include <string_view>

#include "gmock/gmock.h"

namespace ballast::report {

// Passes where the file has exactly this content. With BALLAST_UPDATE_GOLDEN=1 in the environment it writes the file
// instead, and passes.
[[nodiscard]] testing::AssertionResult MatchesGoldenFile(std::string_view content, const std::filesystem::path& path);

}  // namespace ballast::report
