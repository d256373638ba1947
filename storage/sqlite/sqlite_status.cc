#include "storage/sqlite/sqlite_status.h"

#include <fmt/format.h>
#include <sqlite3.h>

namespace ballast::storage {
namespace {

std::string_view NextStep(int primary_code) {
  switch (primary_code) {
    case SQLITE_FULL:
      return "; free some disk space, writing goes on by itself";
    case SQLITE_IOERR:
      return "; look for disk errors and free space, writing goes on by itself";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "; stop the coordinator, move the file away together with its -wal, and restore a copy of it or save what "
             "can "
             "be read with `sqlite3 FILE .recover`";
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return "; check the owner and the permissions of the file and its directory";
    default:
      return "";
  }
}

}  // namespace

absl::StatusCode SqliteStatusCode(int extended_code) {
  switch (extended_code) {
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
      return absl::StatusCode::kAlreadyExists;
    default:
      break;
  }
  switch (extended_code & 0xff) {
    case SQLITE_OK:
      return absl::StatusCode::kOk;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
      return absl::StatusCode::kInvalidArgument;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status SqliteStatus(std::string_view file, int extended_code, std::string_view detail) {
  return {SqliteStatusCode(extended_code), fmt::format("database {}: {} (SQLite code {}){}", file, detail,
                                                       extended_code, NextStep(extended_code & 0xff))};
}

absl::Status SqliteStatus(sqlite3* database, int extended_code) {
  const char* const file = sqlite3_db_filename(database, "main");
  // The connection's own text says more, but only while the code is still its latest.
  const char* const detail =
      sqlite3_extended_errcode(database) == extended_code ? sqlite3_errmsg(database) : sqlite3_errstr(extended_code);
  return SqliteStatus(file == nullptr ? "" : file, extended_code, detail);
}

absl::Status AfterOpening(absl::Status status) {
  if (status.code() != absl::StatusCode::kPermissionDenied) return status;
  return absl::UnavailableError(status.message());
}

}  // namespace ballast::storage
