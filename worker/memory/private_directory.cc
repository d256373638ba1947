#include "worker/memory/private_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace ballast::memory {
namespace {

constexpr std::string_view kPrefix = "ballast-memory-";
constexpr int kMostTries = 5;

std::filesystem::path TemporaryDirectory() {
  const char* const variable = std::getenv("TMPDIR");
  // Not /tmp, which is memory on many machines: models and held pages of files would be, too.
  return variable != nullptr && *variable != '\0' ? std::filesystem::path(variable) : "/var/tmp";
}

void Remove(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) base::Log().warn("{} is left: {}", directory.string(), error.message());
}

// Removes the directories of this user's programs that have ended without doing so: nobody holds their lock.
void Sweep(const std::filesystem::path& parent) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    struct stat info {};
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid()) continue;
    // Before there is a lock it may be one that is being made now.
    if (::access((entry.path() / "lock").c_str(), F_OK) != 0) continue;
    if (const auto abandoned = agent::DataDirectory::Open(entry.path()); abandoned.ok()) Remove(entry.path());
  }
}

}  // namespace

absl::StatusOr<PrivateDirectory> PrivateDirectory::Open(const std::filesystem::path& given) {
  if (!given.empty()) {
    BALLAST_ASSIGN_OR_RETURN(agent::DataDirectory directory,
                             agent::DataDirectory::Open(std::filesystem::absolute(given)));
    return PrivateDirectory(std::move(directory), false);
  }
  const std::filesystem::path parent = std::filesystem::absolute(TemporaryDirectory());
  Sweep(parent);
  absl::Status status;
  for (int i = 0; i < kMostTries; ++i) {
    std::string name = (parent / fmt::format("{}XXXXXX", kPrefix)).string();
    if (::mkdtemp(name.data()) == nullptr) {
      return base::ErrnoStatus(errno, fmt::format("make a directory in {} (set TMPDIR to another)", parent.string()));
    }
    absl::StatusOr<agent::DataDirectory> directory = agent::DataDirectory::Open(name);
    if (directory.ok()) return PrivateDirectory(*std::move(directory), true);
    // Another program's sweep may have come between.
    status = directory.status();
    Remove(name);
  }
  return status;
}

PrivateDirectory::PrivateDirectory(PrivateDirectory&& other) noexcept
    : directory_(std::move(other.directory_)), own_(std::exchange(other.own_, false)) {}

PrivateDirectory::~PrivateDirectory() {
  if (own_) Remove(directory_.path());
}

}  // namespace ballast::memory
