#include "worker/pressure/run_log.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;

// Twenty a second are promised. The log is asked after each chunk, which takes 20 ms: the two together stay within the
// 50 ms.
constexpr nanoseconds kMovingStateInterval = std::chrono::milliseconds(30);
constexpr nanoseconds kRestingStateInterval = std::chrono::seconds(1);

const char* NameOf(v1::Phase::Kind kind) {
  switch (kind) {
    case v1::Phase::BASELINE:
      return "baseline";
    case v1::Phase::RAMP:
      return "ramp";
    case v1::Phase::HOLD:
      return "hold";
    case v1::Phase::LOAD:
      return "load";
    case v1::Phase::INFER:
      return "infer";
    case v1::Phase::RELEASE:
      return "release";
    case v1::Phase::RECOVERY:
      return "recovery";
    default:
      return "phase";
  }
}

}  // namespace

RunLog::RunLog(Pacer* pacer, PressureObserver* observer, nanoseconds attempt_start)
    : pacer_(pacer), observer_(observer), attempt_start_(attempt_start) {}

nanoseconds RunLog::Offset() const {
  return pacer_->Now() - attempt_start_;
}

void RunLog::BeginPhase(v1::Phase::Kind kind, double target_percent) {
  v1::Phase phase;
  phase.set_kind(kind);
  *phase.mutable_start_offset() = base::ToProto(Offset());
  phase.set_target_percent(target_percent);
  target_percent_ = target_percent;
  observer_->OnPhase(phase);
  AddEvent(v1::Event::PHASE_STARTED, NameOf(kind), target_percent);
  SetHeld(held_bytes_, Pace::kUrgent);
}

void RunLog::AddEvent(v1::Event::Kind kind, std::string message, double value) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(Offset());
  event.set_kind(kind);
  event.set_message(std::move(message));
  event.set_value(value);
  observer_->OnEvent(event);
}

void RunLog::AddStep(v1::Step step) {
  *step.mutable_offset() = base::ToProto(Offset());
  observer_->OnStep(step);
  AddEvent(v1::Event::STEP_REACHED, fmt::format("step {}", step.index()), static_cast<double>(step.held_bytes()));
}

void RunLog::AddFill(std::uint64_t bytes, nanoseconds time) {
  if (!first_fill_) first_fill_ = pacer_->Now() - time;
  filled_bytes_ += bytes;
  fill_time_ += time;
}

void RunLog::MarkTargetReached() {
  if (!time_to_target_) time_to_target_ = first_fill_ ? pacer_->Now() - *first_fill_ : nanoseconds(0);
}

void RunLog::SetHeld(std::uint64_t held_bytes, Pace pace) {
  held_bytes_ = held_bytes;
  peak_held_bytes_ = std::max(peak_held_bytes_, held_bytes);
  const nanoseconds now = pacer_->Now();
  const nanoseconds interval = pace == Pace::kMoving ? kMovingStateInterval : kRestingStateInterval;
  if (pace != Pace::kUrgent && last_state_ && now - *last_state_ < interval) return;
  last_state_ = now;
  v1::RunnerState state;
  state.set_held_bytes(held_bytes);
  state.set_target_percent(target_percent_);
  if (planned_) *state.mutable_planned() = base::ToProto(*planned_);
  observer_->OnState(state);
}

nanoseconds RunLog::NextStateDue() const {
  return last_state_ ? *last_state_ + kRestingStateInterval : attempt_start_;
}

double RunLog::FillBytesPerSecond() const {
  if (fill_time_.count() <= 0) return 0;
  return static_cast<double>(filled_bytes_) / base::ToSeconds(fill_time_);
}

v1::RunnerFinished RunLog::Finish(v1::OutcomeKind outcome, std::string message) const {
  v1::RunnerFinished finished;
  finished.set_outcome(outcome);
  finished.set_message(std::move(message));
  *finished.mutable_offset() = base::ToProto(Offset());
  finished.set_peak_held_bytes(peak_held_bytes_);
  if (time_to_target_) *finished.mutable_time_to_target() = base::ToProto(*time_to_target_);
  finished.set_filled_bytes(filled_bytes_);
  *finished.mutable_fill_time() = base::ToProto(fill_time_);
  return finished;
}

}  // namespace ballast::pressure
