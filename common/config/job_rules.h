// Rules between the fields of a job, beyond what stands beside each field.
#pragma once

#include <vector>

#include "ballast/v1/job.pb.h"
#include "common/config/field_rules.h"

namespace ballast::config {

// What contradicts itself in a job that has its defaults: an end that cannot come, a hold that cannot be reached, a
// guard that would act where the load is meant to be.
[[nodiscard]] std::vector<Violation> FindContradictions(const v1::JobSpec& spec);

// As Validate() of any message, and contradictions.
[[nodiscard]] absl::Status Validate(const v1::JobSpec& spec);

}  // namespace ballast::config
