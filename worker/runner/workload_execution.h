// What a runner does: one workload of pressure, or one load of a model.
#pragma once

#include <stop_token>

#include "ballast/v1/runner.pb.h"
#include "worker/model/load_execution.h"
#include "worker/pressure/engine_requests.h"
#include "worker/pressure/run_log.h"

namespace ballast::runner {

// Hears what happens in either.
class RunnerObserver : public pressure::PressureObserver, public model::LoadObserver {
 public:
  // Both say the same by them.
  void OnPhase(const v1::Phase& phase) override = 0;
  void OnEvent(const v1::Event& event) override = 0;
};

// Carries the task out in this process and blocks until it has ended. INVALID for kinds that this build does not know.
// `requests` brings what the agent asks for meanwhile. The process may be OOM-killed in here.
[[nodiscard]] v1::RunnerFinished ExecuteTask(const v1::RunnerStart& start, RunnerObserver* observer,
                                             pressure::EngineRequests* requests, const std::stop_token& stop);

}  // namespace ballast::runner
