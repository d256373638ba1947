#include "common/base/program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::base {
namespace {

// Whether the file can be executed; as the errno of execve.
int WhyNot(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno;
  if (S_ISDIR(status.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

}  // namespace

absl::Status FindProgram(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    const int error = WhyNot(program);
    return error == 0 ? absl::OkStatus() : ErrnoStatus(error, program);
  }
  const char* const variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  bool denied = false;
  while (!program.empty() && !path.empty()) {
    const std::string_view directory = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(path.size(), directory.size() + 1));
    const int error = WhyNot(fmt::format("{}/{}", directory.empty() ? "." : directory, program));
    if (error == 0) return absl::OkStatus();
    denied = denied || error == EACCES;
  }
  return ErrnoStatus(denied ? EACCES : ENOENT, fmt::format("{} on PATH", program));
}

bool IsProgram(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

std::optional<std::filesystem::path> FindOnPath(const std::string& name, std::string_view search_path) {
  std::string_view rest = search_path;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(':'));
    rest.remove_prefix(entry.size() == rest.size() ? entry.size() : entry.size() + 1);
    // An empty entry is the current directory.
    if (auto path = std::filesystem::path(entry.empty() ? "." : entry) / name; IsProgram(path)) return path;
  }
  return std::nullopt;
}

}  // namespace ballast::base
