// Looking for programs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::base {

// Whether `program` exists and may be executed by this process, as execvp looks for it: a name with a slash is a path,
// another one is looked for on PATH. NOT_FOUND and PERMISSION_DENIED say which.
[[nodiscard]] absl::Status FindProgram(const std::string& program);

// Whether this is a file that can be executed.
[[nodiscard]] bool IsProgram(const std::filesystem::path& path);

// The first program of this name in the directories of `search_path`, a value of PATH; nothing where there is none.
[[nodiscard]] std::optional<std::filesystem::path> FindOnPath(const std::string& name, std::string_view search_path);

}  // namespace ballast::base
