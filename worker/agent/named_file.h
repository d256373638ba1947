// A file of this device that a coordinator named by its path.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::agent {

// A regular file below one of the directories that the device's configuration gives away. Move-only.
struct NamedFile {
  base::Fd fd;                 // open for reading
  std::filesystem::path path;  // where it lies; no part of it is a link
};

// Opens the file that `path` names, if it is a regular file that lies below one of `directories` once every link was
// followed; `/` holds every file. What is checked is what the kernel opened, so that no link that is changed meanwhile
// leads elsewhere, and nothing is opened for reading before (devices and pipes do not notice). INVALID_ARGUMENT: not an
// absolute path, or one with `..`. PERMISSION_DENIED: it lies elsewhere. FAILED_PRECONDITION: no regular file, or not
// the same one under its name. Codes of ErrnoStatus.
[[nodiscard]] absl::StatusOr<NamedFile> OpenNamedFile(const std::string& path,
                                                      std::span<const std::filesystem::path> directories);

}  // namespace ballast::agent
