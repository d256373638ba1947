// What a person reads when a command fails: the cause, the place, the next step.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/base/next_step.h"

namespace ballast::cli {

using base::WithDetail;
using base::WithNextStep;

// The text for standard error, with a line end at its end:
//   error: CAUSE
//     at FILE:LINE:COLUMN        where a line of the message begins with a place
//     try: NEXT STEP             where there is one
// A message of several lines is several causes.
[[nodiscard]] std::string FormatError(const absl::Status& status);

}  // namespace ballast::cli
