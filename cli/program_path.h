// Finding programs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "cli/context.h"

namespace ballast::cli {

// Whether this is a file that can be executed.
[[nodiscard]] bool IsProgram(const std::filesystem::path& path);

// The first program of this name in the directories of PATH; nothing where there is none.
[[nodiscard]] std::optional<std::filesystem::path> FindOnPath(const std::string& name, const Context& context);

}  // namespace ballast::cli
