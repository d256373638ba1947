// Lists, page by page.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "storage/sqlite/connection.h"

namespace ballast::storage {

// As the methods of Store with these names, on one connection.
[[nodiscard]] absl::StatusOr<v1::ListJobsResponse> ListJobs(Connection* connection, const v1::ListJobsRequest& request);
[[nodiscard]] absl::StatusOr<v1::ListRunsResponse> ListRuns(Connection* connection, const v1::ListRunsRequest& request);
[[nodiscard]] absl::StatusOr<v1::ListDevicesResponse> ListDevices(Connection* connection,
                                                                  const v1::ListDevicesRequest& request);

}  // namespace ballast::storage
