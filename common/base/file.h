// Whole files: read, written all or nothing, made durable.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::base {

// Opens a file (O_CLOEXEC is added to `flags`). INVALID_ARGUMENT for a path with a zero byte; codes as in ErrnoStatus;
// the message names the path.
[[nodiscard]] absl::StatusOr<Fd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode = 0644);

// The content of a file. RESOURCE_EXHAUSTED when it is larger than `max_bytes`.
[[nodiscard]] absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                                   std::size_t max_bytes = 64U << 20U);

// Writes all of `data` to a descriptor, through short writes and interrupts.
[[nodiscard]] absl::Status WriteAll(int fd, std::string_view data);

// Replaces a file: a temporary file beside it, fsync, rename, fsync of the directory. On failure the old file is
// untouched and nothing is left behind. The file has `mode` from its first byte on, or a narrower one.
[[nodiscard]] absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content,
                                               unsigned mode = 0644);

// The mode of directories that hold what is nobody else's business, such as data directories.
inline constexpr unsigned kPrivateDirectoryMode = 0700;

// Makes sure that `path` is a directory in which this process can write, creating it (with `mode`, less what the umask
// takes) and its parents where missing. One that is there keeps its mode. FAILED_PRECONDITION when something else has
// that name.
[[nodiscard]] absl::Status EnsureWritableDirectory(const std::filesystem::path& path, unsigned mode = 0777);

// Makes the entries of a directory durable (fsync of the directory).
[[nodiscard]] absl::Status SyncDirectory(const std::filesystem::path& path);

}  // namespace ballast::base
