#include "storage/sqlite/database_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::storage {
namespace {

// The number that the holder left in the file; for the message only, so that what cannot be read is no error.
std::string HolderOf(const std::filesystem::path& lock_file) {
  const absl::StatusOr<std::string> content = base::ReadFile(lock_file, 64);
  if (!content.ok()) return "another program";
  const std::size_t end = content->find_first_not_of("0123456789");
  return end == 0 || content->empty() ? "another program" : fmt::format("process {}", content->substr(0, end));
}

}  // namespace

std::filesystem::path LockFileOf(const std::filesystem::path& file) {
  return file.string() + ".lock";
}

absl::StatusOr<base::Fd> LockDatabase(const std::filesystem::path& file) {
  const std::filesystem::path lock_file = LockFileOf(file);
  BALLAST_ASSIGN_OR_RETURN(base::Fd fd, base::OpenFile(lock_file, O_RDWR | O_CREAT, 0600));
  static_cast<void>(::fchmod(fd.get(), 0600));  // whoever may read it may lock it
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return base::ErrnoStatus(errno, fmt::format("lock {}", lock_file.string()));
    return absl::FailedPreconditionError(fmt::format(
        "database {} is in use by {}: stop it, or choose another data directory", file.string(), HolderOf(lock_file)));
  }
  // A full disk is no reason to refuse the lock: only the message of a second program loses its number.
  if (::ftruncate(fd.get(), 0) == 0) static_cast<void>(base::WriteAll(fd.get(), fmt::format("{}\n", ::getpid())));
  return fd;
}

}  // namespace ballast::storage
