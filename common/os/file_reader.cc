#include "common/os/file_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::os {
namespace {

constexpr std::size_t kLeastPageBytes = 4096;
// Of the files with many records: lines of /proc/vmstat, /proc/zoneinfo and the like.
constexpr std::size_t kLongestRecordBytes = 1024;

}  // namespace

absl::StatusOr<FileReader> FileReader::Open(const std::string& path) {
  FileReader reader;
  BALLAST_ASSIGN_OR_RETURN(reader.fd_, base::OpenFile(path, O_RDONLY));
  return reader;
}

FileReader FileReader::OpenOptional(const std::string& path) {
  absl::StatusOr<FileReader> reader = Open(path);
  return reader.ok() ? *std::move(reader) : FileReader();
}

std::optional<std::string_view> FileReader::Read(std::span<char> buffer) {
  if (!fd_.valid()) {
    last_errno_ = EBADF;
    return std::nullopt;
  }
  std::size_t size = 0;
  // The kernel hands files of many records out about a page a call, as many records as fit: a short read is not the
  // end, unless another record would have fitted.
  while (size < buffer.size()) {
    const ssize_t n = ::pread(fd_.get(), buffer.data() + size, buffer.size() - size, static_cast<off_t>(size));
    if (n < 0) {
      if (errno == EINTR) continue;
      last_errno_ = errno;
      return std::nullopt;
    }
    if (n == 0) return std::string_view(buffer.data(), size);
    size += static_cast<std::size_t>(n);
    if (size < buffer.size() && static_cast<std::size_t>(n) + kLongestRecordBytes < kLeastPageBytes) {
      return std::string_view(buffer.data(), size);
    }
  }
  const std::string_view content(buffer.data(), size);
  const std::size_t end = content.rfind('\n');
  return end == std::string_view::npos ? content : content.substr(0, end + 1);
}

}  // namespace ballast::os
