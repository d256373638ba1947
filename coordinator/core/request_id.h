// Submissions that are repeated.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"

namespace ballast::core {

// What a submission gets whose request_id is that of a job that there is: that job, where it is its own. ALREADY_EXISTS
// where another submitted it: identifiers are for everybody to choose.
[[nodiscard]] absl::StatusOr<v1::Job> JobOfRequest(const v1::Job& known, const std::string& submitter);

}  // namespace ballast::core
