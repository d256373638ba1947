// Reads a small file of /proc or a cgroup again and again without opening it again.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::os {

// Keeps a file open and reads all of it from the beginning each time, into a buffer that the caller owns and may share
// between readers. Move-only. Not thread-safe.
class FileReader {
 public:
  // A reader of nothing: Read() gives nothing.
  FileReader() = default;

  // Codes as in base::ErrnoStatus; the message names the path.
  [[nodiscard]] static absl::StatusOr<FileReader> Open(const std::string& path);
  // The same for a file that may be missing: where it cannot be opened, Read() gives nothing.
  [[nodiscard]] static FileReader OpenOptional(const std::string& path);

  // The content as it is now, in `buffer`; valid until the buffer is used again. Content that does not fit is cut after
  // its last whole line, so that no figure is cut in two. Nothing where it cannot be read (the process or the cgroup is
  // gone). Does not allocate.
  [[nodiscard]] std::optional<std::string_view> Read(std::span<char> buffer);

  // Whether a file is open.
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  // errno of the last Read() that gave nothing; EBADF where no file is open.
  [[nodiscard]] int last_errno() const { return last_errno_; }

 private:
  base::Fd fd_;
  int last_errno_ = 0;
};

// The buffer that is large enough for every file the program reads this way (/proc/vmstat and memory.stat are the
// longest, about 6 KiB).
inline constexpr std::size_t kReadBufferBytes = 32768;

}  // namespace ballast::os
