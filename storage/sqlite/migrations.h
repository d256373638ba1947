// The schema, as the steps that lead to it.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "storage/sqlite/connection.h"

namespace ballast::storage {

// Marks a file as this project's: "Blst".
inline constexpr int kApplicationId = 0x426c7374;

// One step of the schema, from version - 1 to `version`.
struct Migration {
  int version;
  // The oldest schema version whose programs can still work with a database after this step. A step that only adds
  // tables, indexes or columns with defaults keeps the one before; a step that changes a meaning sets its own version.
  int oldest_compatible_version;
  const char* sql;
};

// Every step, from 1 on without gaps.
[[nodiscard]] std::span<const Migration> Migrations();

// Refuses what is not a database of this project, without changing it: FAILED_PRECONDITION for a database of another
// program or of a newer version that this one does not understand. An empty database is fine.
[[nodiscard]] absl::Status CheckDatabase(Connection* connection, std::span<const Migration> migrations);

// Brings a checked database up to the last of `migrations`, each step in a transaction of its own. Foreign keys must be
// off (SQLite's default). A database of a newer version that is compatible stays as it is. DATA_LOSS where a step
// leaves rows that refer to nothing.
[[nodiscard]] absl::Status Migrate(Connection* connection, std::span<const Migration> migrations);

}  // namespace ballast::storage
