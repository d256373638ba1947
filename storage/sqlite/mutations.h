// What each mutation does to the database.
#pragma once

#include "absl/status/status.h"
#include "storage/sqlite/connection.h"
#include "storage/store.h"

namespace ballast::storage {

// Carries out one mutation in the open transaction. On failure some of it may be done: undo it by a savepoint. Codes as
// in Store::Write.
[[nodiscard]] absl::Status Apply(Connection* connection, const Mutation& mutation);

}  // namespace ballast::storage
