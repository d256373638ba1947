// Whole databases: copied while they are in use, put in their place again, and made small.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::storage {

// Called now and then: what is being done (`copy`, `check`, …), and how much of it in bytes; a total of zero where that
// is not known. CANCELLED from it ends the work; so does any other error.
using OnProgress =
    std::function<absl::Status(std::string_view stage, std::uint64_t done_bytes, std::uint64_t total_bytes)>;

// Copies a database to a file that a coordinator can be started with, also while one is writing to it: the copy is of
// one moment, and holds everything that was acknowledged before the call. The writer is not held up; what it writes
// meanwhile stays in its write-ahead log until the copy is done. The copy is written beside `copy`, checked (every
// page, every reference), made durable and then given its name; on failure nothing is left. Blocks. The copy's size.
//
// NOT_FOUND: there is no database, or no directory for the copy. ALREADY_EXISTS: there is a file, and `replace` is
// false. INVALID_ARGUMENT: the copy would be the database itself. RESOURCE_EXHAUSTED: the disk has no room for it.
// DATA_LOSS: the database is damaged. FAILED_PRECONDITION: it is none of this program, or of a newer version. Codes of
// SqliteStatusCode and of `progress`.
[[nodiscard]] absl::StatusOr<std::uint64_t> BackUpDatabase(const std::filesystem::path& database,
                                                           const std::filesystem::path& copy, bool replace,
                                                           const OnProgress& progress);

// Puts a copy where a database is to be, after it was checked, all or nothing; its directory is made where missing,
// and goes again where nothing comes of it. Blocks.
//
// FAILED_PRECONDITION: another program has the database open. ALREADY_EXISTS: there is one. The rest as above.
[[nodiscard]] absl::Status RestoreDatabase(const std::filesystem::path& copy, const std::filesystem::path& database,
                                           const OnProgress& progress);

struct CompactOutcome {
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
};

// Writes a database anew without its free space, all or nothing, and in the form that gives space back while it is in
// use (SpaceUse.can_release). Nobody may have it open meanwhile: FAILED_PRECONDITION. Needs as much free space as the
// database has. Blocks.
[[nodiscard]] absl::StatusOr<CompactOutcome> CompactDatabase(const std::filesystem::path& database,
                                                             const OnProgress& progress);

}  // namespace ballast::storage
