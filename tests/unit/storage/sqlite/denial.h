// Failures that SQLite has only when it is told to.
#pragma once

#include <sqlite3.h>

#include <string_view>

#include "storage/sqlite/connection.h"

namespace ballast::storage {

// From now on no savepoint can be undone on this connection.
inline void DenyUndoing(Connection* connection) {
  sqlite3_set_authorizer(
      connection->handle(),
      [](void* /*context*/, int action, const char* operation, const char* /*name*/, const char* /*database*/,
         const char* /*trigger*/) {
        const bool denied = action == SQLITE_SAVEPOINT && std::string_view(operation) == "ROLLBACK";
        return denied ? SQLITE_DENY : SQLITE_OK;
      },
      nullptr);
}

// From now on nothing can be inserted.
inline void DenyInserting(Connection* connection) {
  sqlite3_set_authorizer(
      connection->handle(),
      [](void* /*context*/, int action, const char* /*table*/, const char* /*column*/, const char* /*database*/,
         const char* /*trigger*/) { return action == SQLITE_INSERT ? SQLITE_DENY : SQLITE_OK; },
      nullptr);
}

}  // namespace ballast::storage
