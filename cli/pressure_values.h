// Values of pressure flags that say more than one field holds: they have a form of their own.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"

namespace ballast::cli {

// Each sets fields of `spec` from what was written behind `flag`, in a job whose pattern is `mode`. INVALID_ARGUMENT
// names the flag and has an example as its next step.

// `random`, `zero` or `compressible:RATIO` → content.
[[nodiscard]] absl::Status SetContent(const std::string& flag, const std::string& mode, const std::string& text,
                                      v1::JobSpec* spec);
// `70` or `70%` → burst.target_percent; a size with a unit, `3GiB` → burst.target_bytes.
[[nodiscard]] absl::Status SetTarget(const std::string& flag, const std::string& mode, const std::string& text,
                                     v1::JobSpec* spec);
// `some=20` or `full=5%` → burst.target_psi.
[[nodiscard]] absl::Status SetStall(const std::string& flag, const std::string& mode, const std::string& text,
                                    v1::JobSpec* spec);
// A time → the pattern's hold or cycle; of a staircase the steps that fit, with the interval that it has by then.
[[nodiscard]] absl::Status SetDuration(const std::string& flag, const std::string& mode, const std::string& text,
                                       v1::JobSpec* spec);
// `oom` → no guard, and allocate_full.until; `floor` → allocate_full.until, the only pattern that has it.
[[nodiscard]] absl::Status SetUntil(const std::string& flag, const std::string& mode, const std::string& text,
                                    v1::JobSpec* spec);

}  // namespace ballast::cli
