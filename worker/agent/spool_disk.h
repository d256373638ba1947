// The one seam between the spool and the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::agent {

// What the spool needs of a file system, and what it may rely on when the power goes: what WriteFrom wrote is there
// once the directory's entry is (SyncDirectory, once after the file was made), and a rename is all or nothing. A write
// that was not reported done may be there, in part, or not. Codes as in base::ErrnoStatus, NOT_FOUND where there is no
// such file or directory. Thread-safe.
class SpoolDisk {
 public:
  virtual ~SpoolDisk() = default;

  // As base::EnsureWritableDirectory.
  [[nodiscard]] virtual absl::Status EnsureDirectory(const std::filesystem::path& path) = 0;
  // Makes a directory whose parent is there; nothing happens where it is there already.
  [[nodiscard]] virtual absl::Status MakeDirectory(const std::filesystem::path& path) = 0;
  // Makes the entries of a directory durable.
  [[nodiscard]] virtual absl::Status SyncDirectory(const std::filesystem::path& path) = 0;
  // Names in a directory, in order.
  [[nodiscard]] virtual absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& path) = 0;
  // A whole file. RESOURCE_EXHAUSTED where it is larger than `max_bytes`.
  [[nodiscard]] virtual absl::StatusOr<std::string> Read(const std::filesystem::path& path, std::size_t max_bytes) = 0;
  // Up to `size` bytes from `offset` on; fewer where the file ends.
  [[nodiscard]] virtual absl::StatusOr<std::string> ReadAt(const std::filesystem::path& path, std::uint64_t offset,
                                                           std::size_t size) = 0;
  // Writes `data` at `offset`, with nothing behind it, and makes it durable; makes the file where it is not there.
  [[nodiscard]] virtual absl::Status WriteFrom(const std::filesystem::path& path, std::uint64_t offset,
                                               std::string_view data) = 0;
  // Removes a file or a directory with all that is in it. Nothing happens where there is none.
  [[nodiscard]] virtual absl::Status Remove(const std::filesystem::path& path) = 0;
  // What is at `to` must not be there, or be a file.
  [[nodiscard]] virtual absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;

  // A directory in a directory: its name, its age and the bytes of its files.
  struct Aside {
    std::string name;
    std::filesystem::file_time_type time;
    std::uint64_t bytes = 0;
  };
  // The directories in a directory, the oldest first. What cannot be read is left out.
  [[nodiscard]] virtual std::vector<Aside> ListByAge(const std::filesystem::path& path) = 0;
};

// The machine's file systems. Lives as long as the program.
[[nodiscard]] SpoolDisk& RealSpoolDisk();

}  // namespace ballast::agent
