// Carries a pressure workload out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/workload.pb.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_memory.h"
#include "worker/pressure/run_log.h"
#include "worker/pressure/target_control.h"

namespace ballast::pressure {

// What the engine works on. All must outlive it.
struct EngineSeams {
  os::MemoryGauge* gauge;
  PressureMemory* memory;
  Pacer* pacer;
  PressureObserver* observer;
};

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
  using Bound = Correction::Bound;

  // Tells of a condition when it begins, but not more than once in ten seconds, so that a device on the edge does not
  // fill the record with it.
  struct Notice {
    bool holds = false;
    std::optional<std::chrono::nanoseconds> last_told;
  };

  absl::Status RunPattern();
  absl::Status RunStaircase(const v1::StaircasePattern& pattern);
  absl::Status RunBurst(const v1::BurstPattern& pattern);
  absl::Status RunSawtooth(const v1::SawtoothPattern& pattern);
  absl::Status RunAllocateFull(const v1::AllocateFullPattern& pattern);
  absl::Status Recover(const absl::Status& pattern_status);

  // Moves memory until the target is reached or a bound stops it. Reports which.
  absl::StatusOr<Bound> MoveTo(double target_percent, std::chrono::nanoseconds rest_of_plan);
  // Follows a target that may change with the time since `start`, until it has lasted for `duration`. A target that
  // stands still is corrected only when memory in use has left the dead band.
  template <typename TargetAt, typename OnTick>
  absl::Status Follow(std::chrono::nanoseconds start, std::chrono::nanoseconds duration, bool target_moves,
                      TargetAt target_at, OnTick on_tick);
  // Corrects until the target is met, a bound stops it, or a twentieth of a second is over.
  absl::StatusOr<Correction> Settle(double target_percent, bool target_moves, bool* moved);
  // One reading, one move.
  absl::StatusOr<Correction> CorrectOnce(double target_percent, bool moving);
  // Grows to `held_bytes`, chunk by chunk; false where the floor stopped it.
  absl::StatusOr<bool> GrowTo(std::uint64_t held_bytes);

  absl::Status Grow(std::uint64_t bytes);
  void Shrink(std::uint64_t bytes);
  // Waits, and reports what is held once a second.
  absl::Status WaitUntil(std::chrono::nanoseconds deadline);
  absl::Status Cancelled() const;

  void TellFloor(const os::MemoryReading& reading);
  void TellLag(const Correction& correction, double target_percent, const os::MemoryReading& reading);
  void TellAgain(Notice* notice, bool holds, v1::Event::Kind kind, const std::string& message, double value);

  EngineSeams seams_;
  RunLog log_;
  v1::PressureWorkload workload_;
  std::stop_token stop_;
  double floor_percent_ = 0;
  os::MemoryReading last_reading_;
  std::string summary_;  // what came out, for the message
  Notice floor_notice_;
  Notice occupied_notice_;
  Notice behind_notice_;
  std::optional<std::chrono::nanoseconds> behind_since_;
};

}  // namespace ballast::pressure
