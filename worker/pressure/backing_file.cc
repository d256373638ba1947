#include "worker/pressure/backing_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::pressure {
namespace {

// The flight recorder is on the same disk, and goes on writing.
constexpr std::uint64_t kDiskReserveBytes = 64U << 20U;

absl::StatusOr<base::Fd> CreateWithoutName(const std::filesystem::path& directory) {
  base::Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  // Kernels and filesystems that do not know O_TMPFILE try to open the directory itself (EISDIR), or say so.
  if (errno == EISDIR || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOENT) {
    std::string name = (directory / "held-XXXXXX").string();
    fd.Reset(::mkostemp(name.data(), O_CLOEXEC));
    if (fd.valid()) {
      ::unlink(name.c_str());
      return fd;
    }
  }
  return absl::FailedPreconditionError(fmt::format(
      "{}; the worker's data directory must be writable to its runner",
      std::string(
          base::ErrnoStatus(errno, fmt::format("make a file for held pages in {}", directory.string())).message())));
}

absl::Status DiskFull(const std::filesystem::path& directory, std::size_t bytes, std::uint64_t free_bytes) {
  return absl::ResourceExhaustedError(fmt::format(
      "the disk of {} has no room for {} more of held pages: {} free, of which {} stay for the worker's records; free "
      "some, or start the worker with --data-dir on a larger disk",
      directory.string(), base::FormatBytes(bytes), base::FormatBytes(free_bytes),
      base::FormatBytes(kDiskReserveBytes)));
}

std::uint64_t FreeBytes(int fd) {
  struct statvfs disk {};
  return ::fstatvfs(fd, &disk) == 0 ? std::uint64_t{disk.f_bavail} * disk.f_frsize : 0;
}

}  // namespace

absl::StatusOr<BackingFile> BackingFile::CreateShared() {
  base::Fd fd(::memfd_create("held", MFD_CLOEXEC));
  if (!fd.valid()) return base::ErrnoStatus(errno, "make shared memory");
  return BackingFile(std::move(fd), {});
}

absl::StatusOr<BackingFile> BackingFile::CreateOnDisk(const std::filesystem::path& directory) {
  if (directory.empty()) {
    return absl::FailedPreconditionError("file cache is held in a file, and no directory is given for it");
  }
  BALLAST_ASSIGN_OR_RETURN(base::Fd fd, CreateWithoutName(directory));
  struct statfs disk {};
  if (::fstatfs(fd.get(), &disk) != 0) return base::ErrnoStatus(errno, "statfs " + directory.string());
  if (disk.f_type == TMPFS_MAGIC || disk.f_type == RAMFS_MAGIC) {
    return absl::FailedPreconditionError(
        fmt::format("{} is kept in memory (tmpfs): pages of a file there are never dropped and read again; start the "
                    "worker with --data-dir on a disk",
                    directory.string()));
  }
  return BackingFile(std::move(fd), directory);
}

absl::Status BackingFile::Resize(std::size_t bytes) {
  if (bytes > size_bytes_ && !directory_.empty()) {
    if (absl::Status status = Reserve(bytes); !status.ok()) {
      // What was reserved before the refusal goes back.
      static_cast<void>(::ftruncate(fd_.get(), static_cast<off_t>(size_bytes_)));
      return status;
    }
  }
  while (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EFBIG) {
      return absl::ResourceExhaustedError(
          fmt::format("hold {} in a file: larger than this process may make one (ulimit -f) or the filesystem can",
                      base::FormatBytes(bytes)));
    }
    return base::ErrnoStatus(errno, fmt::format("hold {} in a file", base::FormatBytes(bytes)));
  }
  size_bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status BackingFile::Reserve(std::size_t bytes) const {
  const std::size_t more = bytes - size_bytes_;
  const std::uint64_t free_bytes = FreeBytes(fd_.get());
  if (free_bytes < more + kDiskReserveBytes) return DiskFull(directory_, more, free_bytes);
  // Without blocks of its own a page could find the disk full when it is written, which is a SIGBUS. The file's size
  // changes with it.
  while (::fallocate(fd_.get(), 0, static_cast<off_t>(size_bytes_), static_cast<off_t>(more)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP) break;  // a filesystem that allocates only when it writes; populating finds out
    if (errno == ENOSPC || errno == EDQUOT) return DiskFull(directory_, more, FreeBytes(fd_.get()));
    if (errno == EFBIG) break;  // told by ftruncate()
    return base::ErrnoStatus(
        errno, fmt::format("reserve {} for held pages in {}", base::FormatBytes(more), directory_.string()));
  }
  return absl::OkStatus();
}

void BackingFile::BeginWriteBack(std::size_t offset, std::size_t bytes) const {
  if (directory_.empty()) return;
  // A failure shows when it is waited for.
  static_cast<void>(
      ::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE));
}

absl::Status BackingFile::WaitForWriteBack(std::size_t offset, std::size_t bytes) const {
  if (directory_.empty() || bytes == 0) return absl::OkStatus();
  while (::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EDQUOT) return DiskFull(directory_, bytes, FreeBytes(fd_.get()));
    return base::ErrnoStatus(
        errno, fmt::format("write {} of held pages to the disk of {}", base::FormatBytes(bytes), directory_.string()));
  }
  return absl::OkStatus();
}

}  // namespace ballast::pressure
