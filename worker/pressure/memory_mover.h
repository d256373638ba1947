// Moves memory for the patterns: looks, grows, shrinks, waits, and hears who interrupts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/engine_seams.h"
#include "worker/pressure/held_gauge.h"
#include "worker/pressure/run_log.h"

namespace ballast::pressure {

// The hands and eyes of one run. Whatever it is doing, it ends early for a stop (with CANCELLED), and gives memory back
// at once where that is asked: then it goes on, but allocates nothing until the pause is over. Not thread-safe.
class MemoryMover {
 public:
  // The seams and the log must outlive the mover.
  MemoryMover(const EngineSeams& seams, RunLog* log, double floor_percent, std::stop_token stop);

  // Reads memory in use. CANCELLED after a stop; codes of the gauge.
  [[nodiscard]] absl::StatusOr<os::MemoryReading> Look();
  // The last reading.
  [[nodiscard]] const os::MemoryReading& reading() const { return reading_; }
  // How long one look takes when nothing disturbs it.
  [[nodiscard]] std::chrono::nanoseconds look_cost() const { return look_cost_; }

  // Holds up to `bytes` more: less where it is interrupted. RESOURCE_EXHAUSTED when the kernel refuses (which is told);
  // CANCELLED after a stop.
  [[nodiscard]] absl::Status Grow(std::uint64_t bytes);
  void Shrink(std::uint64_t bytes);
  // Grows to `held_bytes`, chunk by chunk, after the pause where there is one; false where the floor stopped it.
  [[nodiscard]] absl::StatusOr<bool> GrowTo(std::uint64_t held_bytes);
  // How much may be allocated between two readings, at the rate seen so far.
  [[nodiscard]] std::uint64_t chunk_bytes() const;

  // Waits, and reports what is held once a second.
  [[nodiscard]] absl::Status WaitUntil(std::chrono::nanoseconds deadline);
  // Whether nothing may be allocated because memory had to be given back.
  [[nodiscard]] bool paused() const { return seams_.pacer->Now() < pause_end_; }
  [[nodiscard]] absl::Status WaitWhilePaused();

  // Begins the hold of the pattern. In a run that holds until told, what others do from now on changes nothing. Codes
  // of the gauge.
  [[nodiscard]] absl::Status BeginHold(const PhaseTarget& target = {});
  // Whether the hold lasts until told.
  [[nodiscard]] bool holds_until_told() const { return seams_.hold_until_told; }
  // Begins the hold where the pattern had none, and waits until it is over. At once where it does not last until told.
  [[nodiscard]] absl::Status WaitForHoldEnd();

  // Another target that was asked for; nothing where none was.
  [[nodiscard]] std::optional<double> asked_target_percent() const { return requests_->target_percent(); }

  // Available memory is down to the floor.
  void TellFloor();
  // It is not, any more.
  void LeaveFloor() { floor_notice_.holds = false; }

  [[nodiscard]] std::uint64_t held_bytes() const { return seams_.memory->held_bytes(); }
  [[nodiscard]] std::chrono::nanoseconds touch_time() const { return seams_.memory->touch_time(); }
  // As PressureMemory has it.
  bool SetTouchInterval(std::chrono::nanoseconds interval) { return seams_.memory->SetTouchInterval(interval); }
  [[nodiscard]] absl::StatusOr<std::uint64_t> ResidentBytes() { return seams_.memory->ResidentBytes(); }
  [[nodiscard]] std::chrono::nanoseconds Now() const { return seams_.pacer->Now(); }
  [[nodiscard]] double floor_percent() const { return floor_percent_; }
  [[nodiscard]] os::MemoryStall* stall() const { return seams_.stall; }
  [[nodiscard]] RunLog& log() { return *log_; }

 private:
  // Does what was asked since the last time. CANCELLED after a stop.
  absl::Status ObeyRequests();
  [[nodiscard]] absl::Status Cancelled() const;

  EngineSeams seams_;
  HeldGauge gauge_;
  RunLog* log_;
  double floor_percent_;
  std::stop_token stop_;
  EngineRequests no_requests_;  // where nobody asks, a stop still interrupts
  EngineRequests* requests_;
  std::stop_callback<std::function<void()>> interrupt_on_stop_;
  os::MemoryReading reading_;
  std::chrono::nanoseconds look_cost_{0};
  std::chrono::nanoseconds pause_end_{0};
  RunLog::Notice floor_notice_;
  bool holding_ = false;
};

}  // namespace ballast::pressure
