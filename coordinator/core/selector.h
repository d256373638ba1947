// Which devices a job goes to.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "coordinator/core/state.h"

namespace ballast::core {

// `pressure`, `model`, …: the name of the workload's kind. Empty where none is set.
[[nodiscard]] std::string WorkloadKind(const v1::Workload& workload);

// Identifiers of the devices the job goes to, in order: those that match every condition of its selector, can do what
// it needs and are not drained. NOT_FOUND: an identifier that no device has, or a label that no device has, with the
// nearest there are. FAILED_PRECONDITION: an empty selector with several devices, or no device that is left; a device
// that was named by its identifier must be able to do the job.
[[nodiscard]] absl::StatusOr<std::vector<std::string>> SelectDevices(State* state, const v1::JobSpec& spec);

}  // namespace ballast::core
