// Keeps a second program from opening the same database.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::storage {

// `FILE.lock`, beside the database.
[[nodiscard]] std::filesystem::path LockFileOf(const std::filesystem::path& file);

// Locks LockFileOf(file), creating it where missing, until the descriptor is closed: the kernel releases
// it also when the program is killed. The file stays. FAILED_PRECONDITION, naming the holder, where it is locked
// already.
[[nodiscard]] absl::StatusOr<base::Fd> LockDatabase(const std::filesystem::path& file);

}  // namespace ballast::storage
