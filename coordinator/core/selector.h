// Which devices a job goes to.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "coordinator/core/device_filter.h"
#include "coordinator/core/state.h"

namespace ballast::core {

// `pressure`, `model`, …: the name of the workload's kind. Empty where none is set.
[[nodiscard]] std::string WorkloadKind(const v1::Workload& workload);

// The devices that match every condition of a selector, in order, whatever they can do and whether they are there.
// `filter` was made of it. NOT_FOUND: an identifier or a label that no device has, with the nearest there are.
// FAILED_PRECONDITION: an empty selector with several devices, or no device that matches.
[[nodiscard]] absl::StatusOr<std::vector<DeviceEntry*>> MatchingDevices(State* state,
                                                                        const v1::DeviceSelector& selector,
                                                                        const DeviceFilter& filter);

// Identifiers of the devices that the job may go to, in order: those that match its selector, can do what it needs and
// are neither drained nor in quarantine. Codes of MatchingDevices; INVALID_ARGUMENT where its expression cannot be
// read. FAILED_PRECONDITION: no device that is left; a device that was named by its identifier cannot do it; fewer
// devices than DeviceSelector.count can.
[[nodiscard]] absl::StatusOr<std::vector<std::string>> SelectDevices(State* state, const v1::JobSpec& spec);

}  // namespace ballast::core
