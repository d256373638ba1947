// What a person reads when a command fails: the cause, the place, the next step.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::cli {

// The same status with a next step (`ballast jobs list shows the jobs`). One that it already has stays. OK stays OK.
[[nodiscard]] absl::Status WithNextStep(absl::Status status, std::string_view next_step);

// The same status with lines to show below the cause, for instance the end of a log. OK stays OK.
[[nodiscard]] absl::Status WithDetail(absl::Status status, std::string_view detail);

// The text for standard error, with a line end at its end:
//   error: CAUSE
//     at FILE:LINE:COLUMN        where a line of the message begins with a place
//     try: NEXT STEP             where there is one
// A message of several lines is several causes.
[[nodiscard]] std::string FormatError(const absl::Status& status);

}  // namespace ballast::cli
