#include "worker/agent/named_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::agent {
namespace {

bool IsSame(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// Both without links.
bool LiesBelow(const std::filesystem::path& path, const std::filesystem::path& directory) {
  const auto [end, rest] = std::ranges::mismatch(directory, path);
  return end == directory.end() && rest != path.end();
}

}  // namespace

absl::StatusOr<NamedFile> OpenNamedFile(const std::string& path, std::span<const std::filesystem::path> directories) {
  const std::filesystem::path named(path);
  if (!named.is_absolute() || path.find('\0') != std::string::npos ||
      std::ranges::find(named, std::filesystem::path("..")) != named.end()) {
    return absl::InvalidArgumentError(fmt::format("{} is no absolute path, or goes up in it", base::Quoted(path)));
  }
  BALLAST_ASSIGN_OR_RETURN(const base::Fd place, base::OpenFile(named, O_PATH));
  struct stat info {};
  if (::fstat(place.get(), &info) != 0) return base::ErrnoStatus(errno, fmt::format("look at {}", base::Quoted(path)));
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(fmt::format("{} is not a regular file", base::Quoted(path)));
  }
  const std::string handle = fmt::format("/proc/self/fd/{}", place.get());
  std::error_code error;
  NamedFile file;
  file.path = std::filesystem::read_symlink(handle, error);
  if (error) return base::ErrnoStatus(error.value(), fmt::format("look up {}", base::Quoted(path)));
  const bool allowed = std::ranges::any_of(directories, [&](const std::filesystem::path& directory) {
    std::error_code missing;
    const std::filesystem::path real = std::filesystem::canonical(directory, missing);
    return !missing && LiesBelow(file.path, real);
  });
  if (!allowed) {
    return absl::PermissionDeniedError(
        fmt::format("{} lies outside policy.model_directories of this device", base::Quoted(path)));
  }
  struct stat found {};
  if (::lstat(file.path.c_str(), &found) != 0 || !IsSame(info, found)) {
    return absl::FailedPreconditionError(fmt::format("{} was replaced or removed just now", base::Quoted(path)));
  }
  // The same file, however its name has changed since.
  BALLAST_ASSIGN_OR_RETURN(file.fd, base::OpenFile(handle, O_RDONLY | O_NONBLOCK));
  return file;
}

}  // namespace ballast::agent
