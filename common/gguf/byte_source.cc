#include "common/gguf/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::gguf {

absl::StatusOr<FileByteSource> FileByteSource::Open(const std::filesystem::path& path) {
  BALLAST_ASSIGN_OR_RETURN(base::Fd fd, base::OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return base::ErrnoStatus(errno, fmt::format("stat {}", path.string()));
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{} is {}, not a model file", path.string(),
                                                  S_ISDIR(status.st_mode) ? "a directory" : "no regular file"));
  }
  return FileByteSource(std::move(fd), static_cast<std::uint64_t>(status.st_size));
}

absl::StatusOr<std::size_t> FileByteSource::ReadAt(std::uint64_t position, std::span<char> buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n =
        ::pread(fd_.get(), buffer.data() + done, buffer.size() - done, static_cast<off_t>(position + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, fmt::format("read at byte {}", position + done));
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

absl::StatusOr<std::size_t> MemoryByteSource::ReadAt(std::uint64_t position, std::span<char> buffer) {
  if (position >= content_.size()) return std::size_t{0};
  const std::string_view piece = content_.substr(position, buffer.size());
  std::copy(piece.begin(), piece.end(), buffer.begin());
  return piece.size();
}

}  // namespace ballast::gguf
