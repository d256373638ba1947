// The disk under a directory.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace ballast::environment {

// `MAJOR:MINOR` of the disk that holds the directory, as the kernel wants it for limits: of the whole disk where the
// file system is on a partition. FAILED_PRECONDITION where it is on no disk (memory, the network, an overlay); the
// message says on what. `root` is where /proc and /sys are found.
[[nodiscard]] absl::StatusOr<std::string> DiskOf(const std::filesystem::path& directory, const std::string& root = "/");

// The whole disk of a block device: itself, or the one whose partition it is. NOT_FOUND where /sys has no such device.
[[nodiscard]] absl::StatusOr<std::string> WholeDisk(const std::string& device, const std::string& root = "/");

}  // namespace ballast::environment
