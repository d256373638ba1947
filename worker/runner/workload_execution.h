// What a runner does: one workload of any kind.
#pragma once

#include <stop_token>

#include "ballast/v1/runner.pb.h"
#include "worker/pressure/engine_requests.h"
#include "worker/pressure/run_log.h"

namespace ballast::runner {

// Carries a workload out in this process and blocks until it has ended. INVALID for kinds that this build does not
// know. `requests` brings what the agent asks for meanwhile. The process may be OOM-killed in here.
[[nodiscard]] v1::RunnerFinished ExecuteWorkload(const v1::RunnerStart& start, pressure::PressureObserver* observer,
                                                 pressure::EngineRequests* requests, const std::stop_token& stop);

}  // namespace ballast::runner
