// What a run tells while it goes on, and sums up at its end.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "worker/pressure/pacer.h"

namespace ballast::pressure {

// Hears what happens in a run, on the engine's thread, as it happens. Implementations must be quick: memory does not
// move meanwhile.
class PressureObserver {
 public:
  virtual ~PressureObserver() = default;
  virtual void OnPhase(const v1::Phase& phase) = 0;
  virtual void OnEvent(const v1::Event& event) = 0;
  virtual void OnStep(const v1::Step& step) = 0;
  // What is held now. More than twenty times a second while memory moves, once a second while it rests.
  virtual void OnState(const v1::RunnerState& state) = 0;
};

// What a phase wants: at most one of the three.
struct PhaseTarget {
  double percent = 0;       // of memory in use; 0 for none
  std::uint64_t bytes = 0;  // of memory in use; 0 for none
  std::optional<v1::PsiTarget> stall = std::nullopt;
};

// Turns what the engine does into messages with their offsets, at the right rate, and keeps the sums. Not thread-safe.
class RunLog {
 public:
  // Offsets count from `attempt_start` (CLOCK_MONOTONIC). The pacer and the observer must outlive the log.
  RunLog(Pacer* pacer, PressureObserver* observer, std::chrono::nanoseconds attempt_start);

  // Something that is told when it begins, but not more than once in ten seconds, so that a device on the edge does not
  // fill the record with it.
  struct Notice {
    bool holds = false;
    std::optional<std::chrono::nanoseconds> last_told;
  };

  // Ends the phase before and begins this one.
  void BeginPhase(v1::Phase::Kind kind, const PhaseTarget& target = {});
  void AddEvent(v1::Event::Kind kind, std::string message, double value);
  // As if it had been told at this offset, which has passed.
  void AddEventAt(std::chrono::nanoseconds offset, v1::Event::Kind kind, std::string message, double value);
  // Whether the notice's condition holds now; an event where it begins to.
  void Tell(Notice* notice, bool holds, v1::Event::Kind kind, const std::string& message, double value);
  void AddStep(v1::Step step);

  // Bytes were filled, in this time. Kept for the sums; also where the fill was cut short.
  void AddFill(std::uint64_t bytes, std::chrono::nanoseconds time);
  // The first target is reached.
  void MarkTargetReached();
  // The run is this far behind its plan.
  void AddLag(std::uint64_t bytes) { max_lag_bytes_ = std::max(max_lag_bytes_, bytes); }

  // What is held now; goes out when it is time to: at once when `urgent`.
  enum class Pace { kMoving, kResting, kUrgent };
  void SetHeld(std::uint64_t held_bytes, Pace pace);
  // Where the target is now, in percent of memory in use: of targets that move, and of those in bytes.
  void SetTarget(double target_percent) { target_percent_ = target_percent; }
  void SetPlanned(std::optional<std::chrono::nanoseconds> planned) { planned_ = planned; }
  // When the next state is due if nothing moves.
  [[nodiscard]] std::chrono::nanoseconds NextStateDue() const;

  // Since the start of the attempt.
  [[nodiscard]] std::chrono::nanoseconds Offset() const;
  // Of all fills; 0 before the first.
  [[nodiscard]] double FillBytesPerSecond() const;

  [[nodiscard]] v1::RunnerFinished Finish(v1::OutcomeKind outcome, std::string message) const;

 private:
  Pacer* pacer_;
  PressureObserver* observer_;
  std::chrono::nanoseconds attempt_start_;
  std::optional<std::chrono::nanoseconds> last_state_;
  std::optional<std::chrono::nanoseconds> first_fill_;
  std::optional<std::chrono::nanoseconds> time_to_target_;
  std::optional<std::chrono::nanoseconds> planned_;
  double target_percent_ = 0;
  std::optional<v1::PsiTarget> target_stall_;
  std::uint64_t held_bytes_ = 0;
  std::uint64_t peak_held_bytes_ = 0;
  std::uint64_t filled_bytes_ = 0;
  std::uint64_t max_lag_bytes_ = 0;
  std::chrono::nanoseconds fill_time_{0};
};

}  // namespace ballast::pressure
