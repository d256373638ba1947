// The file behind held pages that are not private.
#pragma once

#include <cstddef>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::pressure {

// A file without a name: nothing of it is left once it is closed, however its process ends. Grows and shrinks at its
// end. Move-only. Not thread-safe, but for BeginWriteBack().
class BackingFile {
 public:
  // A file of shared memory: the same pages as those of a shared anonymous mapping. Codes of base::ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<BackingFile> CreateShared();
  // A file in `directory`, on a disk. FAILED_PRECONDITION where the directory is none that this can be done in:
  // missing, not writable, or itself kept in memory (tmpfs), where pages could not be dropped and read again.
  [[nodiscard]] static absl::StatusOr<BackingFile> CreateOnDisk(const std::filesystem::path& directory);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }

  // Sets the size, in whole pages. Blocks on the disk are reserved at once. RESOURCE_EXHAUSTED where the disk does not
  // have them (or would have less than 64 MiB left, which the worker's records need); then the size is as before.
  [[nodiscard]] absl::Status Resize(std::size_t bytes);

  // Starts writing a part back, without waiting. Nothing to do in shared memory. Thread-safe.
  void BeginWriteBack(std::size_t offset, std::size_t bytes) const;
  // Waits until a part is on the disk, so that its pages are clean. Codes of base::ErrnoStatus; RESOURCE_EXHAUSTED
  // where the disk is full.
  [[nodiscard]] absl::Status WaitForWriteBack(std::size_t offset, std::size_t bytes) const;

 private:
  BackingFile(base::Fd fd, std::filesystem::path directory) : fd_(std::move(fd)), directory_(std::move(directory)) {}
  [[nodiscard]] absl::Status Reserve(std::size_t bytes) const;

  base::Fd fd_;
  std::filesystem::path directory_;  // empty for shared memory
  std::size_t size_bytes_ = 0;
};

}  // namespace ballast::pressure
