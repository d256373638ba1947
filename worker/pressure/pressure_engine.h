// Carries a pressure workload out.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/workload.pb.h"
#include "worker/pressure/engine_seams.h"
#include "worker/pressure/memory_mover.h"
#include "worker/pressure/run_log.h"

namespace ballast::pressure {

// Carries one workload out: baseline, ramp, hold, release, recovery. Used once. Not thread-safe; everything happens on
// the thread that calls Run().
class PressureEngine {
 public:
  // Offsets count from `attempt_start` (CLOCK_MONOTONIC).
  PressureEngine(const EngineSeams& seams, std::chrono::nanoseconds attempt_start);

  // Blocks until the workload has ended, and everything is given back. `stop` ends it within a fill of half a megabyte
  // and the time that giving the memory back takes. Outcomes: COMPLETED (also where the floor stopped growth; the
  // message says so), ALLOCATION_FAILED, CANCELLED after `stop`, INVALID for a workload that makes no sense and for a
  // device whose memory cannot be read.
  [[nodiscard]] v1::RunnerFinished Run(const v1::PressureWorkload& workload, const std::stop_token& stop);

 private:
  // Baseline, ramp and hold; one sentence about what came of it.
  absl::StatusOr<std::string> RunPattern(const v1::PressureWorkload& workload, MemoryMover* mover);
  // Release and recovery.
  absl::Status Recover(const v1::PressureWorkload& workload, const absl::Status& pattern_status, MemoryMover* mover);

  EngineSeams seams_;
  RunLog log_;
};

}  // namespace ballast::pressure
