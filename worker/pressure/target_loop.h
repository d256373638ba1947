// The closed loop: keeps memory in use where a pattern wants it, whatever other processes do.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/pressure/memory_mover.h"
#include "worker/pressure/target_control.h"

namespace ballast::pressure {

// Reaches and follows targets of memory in use. One reading, one move, again. Not thread-safe.
class TargetLoop {
 public:
  // Bytes of memory in use that are wanted under this limit.
  using Target = std::function<std::uint64_t(std::uint64_t limit_bytes)>;
  // The same for a target that changes with the time since it is followed.
  using TargetAt = std::function<std::uint64_t(std::chrono::nanoseconds elapsed, std::uint64_t limit_bytes)>;

  // The mover must outlive the loop.
  explicit TargetLoop(MemoryMover* mover) : mover_(mover) {}

  // Moves memory until the target is reached or a bound stops it. Reports which (a pause is waited for). The plan of
  // the run is kept up to date: `rest_of_plan` is what comes after.
  [[nodiscard]] absl::StatusOr<Correction::Bound> MoveTo(const Target& target, std::chrono::nanoseconds rest_of_plan);

  // Follows a target for `duration`. One that does not move is corrected only when memory in use has left the dead
  // band. `on_tick` hears the time since the beginning at every look, and last `duration`.
  [[nodiscard]] absl::Status Follow(std::chrono::nanoseconds duration, bool target_moves, const TargetAt& target_at,
                                    const std::function<void(std::chrono::nanoseconds)>& on_tick);

 private:
  // Corrects until the target is met, a bound stops it, or a twentieth of a second is over.
  absl::StatusOr<Correction> Settle(const Target& target, bool target_moves, bool* moved);
  // One reading, one move.
  absl::StatusOr<Correction> CorrectOnce(const Target& target, bool moving);
  void PlanRamp(const Correction& correction, std::chrono::nanoseconds rest_of_plan);
  void TellLag(const Correction& correction);

  MemoryMover* mover_;
  double target_percent_ = 0;  // at the last reading
  RunLog::Notice occupied_notice_;
  RunLog::Notice behind_notice_;
  std::optional<std::chrono::nanoseconds> behind_since_;
};

}  // namespace ballast::pressure
