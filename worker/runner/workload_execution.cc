#include "worker/runner/workload_execution.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/held_memory.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_engine.h"

namespace ballast::runner {
namespace {

absl::StatusOr<v1::RunnerFinished> ExecutePressure(const v1::PressureWorkload& workload,
                                                   std::chrono::nanoseconds attempt_start,
                                                   pressure::PressureObserver* observer, const std::stop_token& stop) {
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<os::MemoryGauge> gauge, os::MemoryGauge::Open());
  BALLAST_ASSIGN_OR_RETURN(pressure::HeldMemory memory, pressure::HeldMemory::Create(workload.content()));
  pressure::MachinePacer pacer;
  pressure::PressureEngine engine({.gauge = gauge.get(), .memory = &memory, .pacer = &pacer, .observer = observer},
                                  attempt_start);
  return engine.Run(workload, stop);
}

v1::RunnerFinished Invalid(std::chrono::nanoseconds attempt_start, std::string message) {
  v1::RunnerFinished finished;
  finished.set_outcome(v1::INVALID);
  finished.set_message(std::move(message));
  *finished.mutable_offset() = base::ToProto(base::RealClock().Monotonic() - attempt_start);
  return finished;
}

}  // namespace

v1::RunnerFinished ExecuteWorkload(const v1::Workload& workload, std::chrono::nanoseconds attempt_start,
                                   pressure::PressureObserver* observer, const std::stop_token& stop) {
  if (!workload.has_pressure()) {
    return Invalid(attempt_start,
                   "this worker carries out pressure workloads only; send this kind to a device whose facts list it as "
                   "a capability");
  }
  absl::StatusOr<v1::RunnerFinished> finished = ExecutePressure(workload.pressure(), attempt_start, observer, stop);
  if (finished.ok()) return *std::move(finished);
  return Invalid(attempt_start,
                 fmt::format("the runner could not begin: {}", std::string(finished.status().message())));
}

}  // namespace ballast::runner
