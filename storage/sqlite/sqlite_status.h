// The one place where SQLite's result codes become statuses.
#pragma once

#include <string_view>

#include "absl/status/status.h"

struct sqlite3;

namespace ballast::storage {

// The code for an extended result code: FULL, IOERR, BUSY, LOCKED, NOMEM → UNAVAILABLE; CORRUPT, NOTADB → DATA_LOSS;
// CONSTRAINT_FOREIGNKEY → FAILED_PRECONDITION; CONSTRAINT_UNIQUE and _PRIMARYKEY → ALREADY_EXISTS; other constraints,
// TOOBIG, MISMATCH and RANGE → INVALID_ARGUMENT; PERM, AUTH, READONLY and CANTOPEN → PERMISSION_DENIED; others →
// INTERNAL.
[[nodiscard]] absl::StatusCode SqliteStatusCode(int extended_code);

// The status for a result code that `database` returned last; names its file, and the next step where there is one.
[[nodiscard]] absl::Status SqliteStatus(sqlite3* database, int extended_code);
// The same for a database that could not be opened.
[[nodiscard]] absl::Status SqliteStatus(std::string_view file, int extended_code, std::string_view detail);

// The status of what failed in a store that had been opened: PERMISSION_DENIED becomes UNAVAILABLE. The files were
// usable and no longer are, which says nothing of whoever asked.
[[nodiscard]] absl::Status AfterOpening(absl::Status status);

}  // namespace ballast::storage
