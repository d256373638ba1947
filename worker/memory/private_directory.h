// Where an embedding program's runs are recorded.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "worker/agent/data_directory.h"

namespace ballast::memory {

// A data directory that this process has locked; one that it made for itself goes with it. Move-only. Not thread-safe.
class PrivateDirectory {
 public:
  // Opens `given`; where that is empty, makes one in $TMPDIR, or in /var/tmp, and removes what programs that were
  // killed have left there. Codes of DataDirectory::Open.
  [[nodiscard]] static absl::StatusOr<PrivateDirectory> Open(const std::filesystem::path& given);

  PrivateDirectory(PrivateDirectory&& other) noexcept;
  PrivateDirectory& operator=(PrivateDirectory&&) = delete;
  ~PrivateDirectory();

  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }
  [[nodiscard]] const agent::DataDirectory& data_directory() const { return directory_; }

 private:
  PrivateDirectory(agent::DataDirectory directory, bool own) : directory_(std::move(directory)), own_(own) {}

  agent::DataDirectory directory_;
  bool own_;
};

}  // namespace ballast::memory
