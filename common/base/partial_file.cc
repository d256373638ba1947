#include "common/base/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::base {
namespace {

// Dirty pages that wait, and how often the disk is looked at.
constexpr std::uint64_t kWriteBehindBytes = 32U << 20U;

absl::Status NoRoom(const std::filesystem::path& directory, std::uint64_t needed, std::uint64_t free,
                    std::uint64_t reserve) {
  return absl::ResourceExhaustedError(
      fmt::format("the disk of {} has no room: {} are needed and {} are free, of which {} stay free; remove something, "
                  "or use a directory on another disk",
                  directory.string(), FormatBytes(needed), FormatBytes(free), FormatBytes(reserve)));
}

}  // namespace

absl::StatusOr<std::uint64_t> FreeDiskBytes(const std::filesystem::path& directory) {
  struct statvfs info {};
  if (::statvfs(directory.c_str(), &info) != 0) {
    return ErrnoStatus(errno, fmt::format("look at the disk of {}", directory.string()));
  }
  return std::uint64_t{info.f_bavail} * info.f_frsize;
}

absl::Status CheckDiskSpace(const std::filesystem::path& directory, std::uint64_t needed_bytes,
                            std::uint64_t reserve_bytes) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t free, FreeDiskBytes(directory));
  if (free >= reserve_bytes && free - reserve_bytes >= needed_bytes) return absl::OkStatus();
  return NoRoom(directory, needed_bytes, free, reserve_bytes);
}

absl::StatusOr<PartialFile> PartialFile::Open(PartialFileOptions options, const std::stop_token& stop) {
  std::filesystem::path partial = options.path;
  partial += ".partial";
  BALLAST_ASSIGN_OR_RETURN(Fd fd, OpenFile(partial, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, fmt::format("look at {}", partial.string()));
  auto present = static_cast<std::uint64_t>(info.st_size);
  if (present > options.size_bytes) {  // something else
    if (::ftruncate(fd.get(), 0) != 0) return ErrnoStatus(errno, fmt::format("truncate {}", partial.string()));
    present = 0;
  }
  BALLAST_RETURN_IF_ERROR(
      CheckDiskSpace(options.path.parent_path(), options.size_bytes - present, options.reserve_bytes));
  PartialFile file(std::move(options), std::move(fd));
  BALLAST_RETURN_IF_ERROR(
      ReadInPieces(file.fd_.get(), present, partial.string(), stop, [&file](std::string_view piece) -> absl::Status {
        file.digest_.Update(piece);
        return absl::OkStatus();
      }));
  file.size_bytes_ = present;
  file.durable_bytes_ = present;
  if (present > 0) (void)::posix_fadvise(file.fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
  return file;
}

std::filesystem::path PartialFile::partial_path() const {
  std::filesystem::path partial = options_.path;
  partial += ".partial";
  return partial;
}

absl::Status PartialFile::Append(std::string_view piece) {
  if (piece.size() > options_.size_bytes - size_bytes_) {
    return absl::InvalidArgumentError(fmt::format("{} bytes follow after {} of {}: more than was announced",
                                                  piece.size(), size_bytes_, options_.size_bytes));
  }
  digest_.Update(piece);
  for (std::string_view rest = piece; !rest.empty();) {
    const ssize_t n =
        ::pwrite(fd_.get(), rest.data(), rest.size(), static_cast<off_t>(size_bytes_ + (piece.size() - rest.size())));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
      return NoRoom(options_.path.parent_path(), options_.size_bytes - size_bytes_,
                    FreeDiskBytes(options_.path.parent_path()).value_or(0), options_.reserve_bytes);
    }
    if (n < 0) return ErrnoStatus(errno, fmt::format("write {}", partial_path().string()));
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  size_bytes_ += piece.size();
  return size_bytes_ - durable_bytes_ < kWriteBehindBytes ? absl::OkStatus() : WriteBehind();
}

absl::Status PartialFile::WriteBehind() {
  if (::fdatasync(fd_.get()) != 0) return ErrnoStatus(errno, fmt::format("fdatasync {}", partial_path().string()));
  (void)::posix_fadvise(fd_.get(), static_cast<off_t>(durable_bytes_), static_cast<off_t>(size_bytes_ - durable_bytes_),
                        POSIX_FADV_DONTNEED);
  durable_bytes_ = size_bytes_;
  return CheckDiskSpace(options_.path.parent_path(), options_.size_bytes - size_bytes_, options_.reserve_bytes);
}

absl::Status PartialFile::Verify() {
  if (!complete()) {
    return absl::DataLossError(fmt::format("{} bytes came of {}", size_bytes_, options_.size_bytes));
  }
  if (const std::string digest = digest_.Finish(); digest != options_.sha256) {
    return absl::DataLossError(
        fmt::format("what came has the SHA-256 {}, and {} was announced", digest, options_.sha256));
  }
  if (::fsync(fd_.get()) != 0) return ErrnoStatus(errno, fmt::format("fsync {}", partial_path().string()));
  (void)::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
  return absl::OkStatus();
}

absl::Status PartialFile::Commit() {
  if (::rename(partial_path().c_str(), options_.path.c_str()) != 0) {
    return ErrnoStatus(errno, fmt::format("rename {}", partial_path().string()));
  }
  return SyncDirectory(options_.path.parent_path());
}

void PartialFile::Discard() {
  ::unlink(partial_path().c_str());
  fd_.Reset();
}

}  // namespace ballast::base
