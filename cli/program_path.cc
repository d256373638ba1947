#include "cli/program_path.h"

#include <unistd.h>

#include <string_view>
#include <system_error>

namespace ballast::cli {

bool IsProgram(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

std::optional<std::filesystem::path> FindOnPath(const std::string& name, const Context& context) {
  const std::string search = context.variable("PATH").value_or("");
  std::string_view rest = search;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(':'));
    rest.remove_prefix(entry.size() == rest.size() ? entry.size() : entry.size() + 1);
    // An empty entry is the current directory.
    if (auto path = std::filesystem::path(entry.empty() ? "." : entry) / name; IsProgram(path)) return path;
  }
  return std::nullopt;
}

}  // namespace ballast::cli
