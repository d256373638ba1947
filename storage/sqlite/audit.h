// The audit log in the database.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.pb.h"
#include "storage/sqlite/connection.h"
#include "storage/store.h"

namespace ballast::storage {

// What the mutations of these names do, in the open transaction.
[[nodiscard]] absl::Status Append(Connection* connection, const AppendAudit& append);
[[nodiscard]] absl::Status Delete(Connection* connection, const DeleteAuditBefore& deletion);

// As the method of Store with this name, on one connection.
[[nodiscard]] absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(Connection* connection,
                                                                            const v1::ListAuditEntriesRequest& request);

}  // namespace ballast::storage
