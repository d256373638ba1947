// How long a run should take, and how long it may.
#pragma once

#include <chrono>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::agent {

// The time that a workload asks for by itself: observing, stepping and holding, without the time that filling memory
// takes, which only the device decides. At most a year.
[[nodiscard]] std::chrono::nanoseconds PlannedDuration(const v1::Workload& workload);

// The longest time from the start of an attempt to its end: what the policy says, else three times the plan, what the
// loads of models and the executions of a program may take, and ten minutes.
[[nodiscard]] std::chrono::nanoseconds RunTimeout(const v1::JobSpec& spec, std::chrono::nanoseconds planned);

}  // namespace ballast::agent
