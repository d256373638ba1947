// The worker's directory on disk: one worker at a time, one identity for ever.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::agent {

// Owns a data directory: while one lives, no other worker can open it. The lock is the kernel's, so it ends with the
// process, however that ends. Move-only. Not thread-safe.
class DataDirectory {
 public:
  // Creates the directory where it is missing. FAILED_PRECONDITION when another worker uses it; codes of
  // base::EnsureWritableDirectory.
  [[nodiscard]] static absl::StatusOr<DataDirectory> Open(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  // The device's identifier, `d-` and ten characters: made the first time, read ever after. DATA_LOSS when what is kept
  // there is no identifier: making a new one would turn the device into another.
  [[nodiscard]] absl::StatusOr<std::string> DeviceId() const;

  // Where runners keep files that hold pages: an absolute path, made where it is missing. What a worker that was killed
  // left in it is removed. Call before the first run. Codes of base::EnsureWritableDirectory.
  [[nodiscard]] absl::StatusOr<std::filesystem::path> ScratchDirectory() const;

 private:
  DataDirectory(std::filesystem::path path, base::Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  base::Fd lock_;
};

// What to do about a failure of the data directory, or of what is kept in it: what the failure says itself
// (base::NextStepOf), else by its code.
[[nodiscard]] std::string NextStepOfDataDirectory(const absl::Status& status);

}  // namespace ballast::agent
