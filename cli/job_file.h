// Job files, as submit and schedules read them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"

namespace ballast::cli {

// Reads the job in `file`, then sets each `FIELD=VALUE` of `sets`. INVALID_ARGUMENT with the cause, its place and the
// next step, whatever is wrong: also for a file that does not exist, since it is no job that could not be found.
[[nodiscard]] absl::Status ReadJobFile(const std::string& file, const std::vector<std::string>& sets,
                                       v1::JobSpec* spec);

}  // namespace ballast::cli
