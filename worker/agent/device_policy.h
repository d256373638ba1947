// What this device lets jobs do, whatever a coordinator says.
#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/worker_service.pb.h"

namespace ballast::agent {

// INVALID_ARGUMENT where the policy forbids what the assignment asks for: all of it in one line, each with the field of
// the configuration and both values. The assignment's specification is valid and has its defaults; `device` says how
// much memory a percentage is of. Sizes of models that are made here are worked out, not believed.
[[nodiscard]] absl::Status CheckDevicePolicy(const v1::DevicePolicy& policy, const v1::Assignment& assignment,
                                             const v1::DeviceFacts& device);

// Puts into an assignment that was allowed what can only be held to while it is carried out: a staircase counts what it
// holds itself, so that it ends where the device's memory in use reaches the bound.
void ApplyDevicePolicy(const v1::DevicePolicy& policy, v1::JobSpec* spec);

// The longest time that a run may take by this policy; nothing where it has no bound.
[[nodiscard]] std::optional<std::chrono::nanoseconds> LongestRun(const v1::DevicePolicy& policy);

// Adds what the policy forbids, a sentence each, so that people see it with the device.
void AddPolicyFacts(const v1::DevicePolicy& policy, v1::DeviceFacts* facts);

}  // namespace ballast::agent
