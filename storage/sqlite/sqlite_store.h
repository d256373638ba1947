// The store in one SQLite file.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "storage/store.h"

namespace ballast::storage {

struct Migration;

// Opens the database in `file`, creating it and its directory where missing and bringing an older one up to date.
// Blocks on the disk. The store holds a lock beside the file (`FILE.lock`), so that no second program opens it;
// destroying the store carries out what is queued and releases it.
//
// FAILED_PRECONDITION: another program has the database open, it was made by a newer version, or it belongs to another
// program. DATA_LOSS: damaged, or no database. PERMISSION_DENIED, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE: what the
// file system says. Every message names the file and the next step.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::filesystem::path& file);

// The same with other steps of the schema than this version's, for tests of versions to come. `migrations` begins with
// Migrations() and outlives the call.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::filesystem::path& file,
                                                                     std::span<const Migration> migrations);

}  // namespace ballast::storage
