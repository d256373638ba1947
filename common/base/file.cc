#include "common/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::base {

absl::StatusOr<Fd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode) {
  if (path.native().find('\0') != std::string::npos) {  // the kernel would open what stands before it
    return absl::InvalidArgumentError(fmt::format("open {}: a zero byte in a path", Quoted(path.native())));
  }
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoStatus(errno, fmt::format("open {}", path.string()));
  return Fd(fd);
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, std::size_t max_bytes) {
  BALLAST_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));
  std::string content;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, fmt::format("read {}", path.string()));
    }
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > max_bytes) {
      return absl::ResourceExhaustedError(fmt::format("read {}: larger than {} bytes", path.string(), max_bytes));
    }
    content.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

absl::Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "write");
    }
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content, unsigned mode) {
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  // Opened first, so that nothing can fail between the rename and making it durable but the disk itself.
  BALLAST_ASSIGN_OR_RETURN(const Fd directory_fd, OpenFile(directory, O_RDONLY | O_DIRECTORY));
  std::string temporary = (directory / fmt::format(".{}.XXXXXX", path.filename().string())).string();
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("create a temporary file beside {}", path.string()));
  absl::Status status = [&]() -> absl::Status {
    BALLAST_RETURN_IF_ERROR(WithContext(WriteAll(fd.get(), content), temporary));
    if (::fchmod(fd.get(), mode) != 0) return ErrnoStatus(errno, fmt::format("chmod {}", temporary));
    if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, fmt::format("fsync {}", temporary));
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
      return ErrnoStatus(errno, fmt::format("rename {} to {}", temporary, path.string()));
    }
    return absl::OkStatus();
  }();
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  if (::fsync(directory_fd.get()) != 0) return ErrnoStatus(errno, fmt::format("fsync {}", directory.string()));
  return absl::OkStatus();
}

absl::Status EnsureWritableDirectory(const std::filesystem::path& given, unsigned mode) {
  // `a/b/` would be a directory without a name in `a/b`.
  const std::filesystem::path path = given.has_filename() ? given : given.parent_path();
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_directory(path, error)) {
    return absl::FailedPreconditionError(fmt::format("{} is not a directory", path.string()));
  }
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return ErrnoStatus(error.value(), fmt::format("create directory {}", path.string()));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, fmt::format("create directory {}", path.string()));
  }
  // Tried rather than asked: access() says yes to root also where the file system says no.
  std::string probe = (path / ".probe.XXXXXX").string();
  const Fd fd(::mkostemp(probe.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("write in directory {}", path.string()));
  ::unlink(probe.c_str());
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::filesystem::path& path) {
  BALLAST_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, fmt::format("fsync {}", path.string()));
  return absl::OkStatus();
}

}  // namespace ballast::base
