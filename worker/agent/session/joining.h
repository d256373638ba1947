// Joining at the worker's start: tried again while that can help, and what to do where it cannot.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace ballast::agent {

// Calls `join` (Membership::Join) until it succeeds or fails for good: again after UNAVAILABLE, DEADLINE_EXCEEDED and
// RESOURCE_EXHAUSTED (more tries from one address than the coordinator takes in a minute), each told in the log.
// Between two calls it calls `wait` with a pause of one second to half a minute; true means that the worker is to stop,
// and ends it with CANCELLED.
[[nodiscard]] absl::Status KeepJoining(const std::function<absl::Status()>& join,
                                       const std::function<bool(std::chrono::milliseconds pause)>& wait);

// What to do about a failure of KeepJoining: what it says itself (base::NextStepOf), else by its code.
[[nodiscard]] std::string NextStepOfJoining(const absl::Status& status, const std::string& device_id);

}  // namespace ballast::agent
