#include "worker/memory/runner_program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ballast/installed_runner.h"
#include "common/base/status.h"

namespace ballast::memory {
namespace {

constexpr char kRunnerName[] = "ballast-runner";
constexpr char kRunnerVariable[] = "BALLAST_RUNNER";

std::atomic<const char*> installed_runner = nullptr;

absl::Status CheckProgram(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return base::ErrnoStatus(errno, path.string());
  if (!S_ISREG(info.st_mode) || ::access(path.c_str(), X_OK) != 0) {
    return absl::PermissionDeniedError(fmt::format("{} is no program that can be run", path.string()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::filesystem::path> Named(const std::filesystem::path& path, const std::string& by) {
  BALLAST_RETURN_IF_ERROR(base::WithContext(CheckProgram(path), fmt::format("the runner that {} names", by)));
  return std::filesystem::absolute(path);
}

}  // namespace

bool NoteInstalledRunner(const char* path) {
  installed_runner = path;
  return true;
}

absl::StatusOr<std::filesystem::path> FindRunner(const std::filesystem::path& given,
                                                 const std::filesystem::path& self) {
  if (!given.empty()) return Named(given, "the option runner_program");
  if (const char* const variable = std::getenv(kRunnerVariable); variable != nullptr && *variable != '\0') {
    return Named(variable, kRunnerVariable);
  }
  std::vector<std::filesystem::path> places;
  if (const char* const installed = installed_runner) places.emplace_back(installed);
  std::error_code error;
  if (const auto program = std::filesystem::read_symlink(self, error); !error) {
    places.push_back(program.parent_path() / kRunnerName);
    places.push_back(program.parent_path().parent_path() / "libexec" / "ballast" / kRunnerName);
  }
  std::vector<std::string> looked;
  for (const std::filesystem::path& place : places) {
    if (CheckProgram(place).ok()) return place;
    looked.push_back(place.string());
  }
  return absl::NotFoundError(fmt::format(
      "there is no {} in {}; install the library's runtime, or name the program with the option runner_program or the "
      "environment variable {}",
      kRunnerName, fmt::join(looked, ", "), kRunnerVariable));
}

}  // namespace ballast::memory
