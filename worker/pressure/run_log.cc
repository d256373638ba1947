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

constexpr nanoseconds kNoticeInterval = std::chrono::seconds(10);

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

void RunLog::BeginPhase(v1::Phase::Kind kind, const PhaseTarget& target) {
  v1::Phase phase;
  phase.set_kind(kind);
  *phase.mutable_start_offset() = base::ToProto(Offset());
  phase.set_target_percent(target.percent);
  phase.set_target_bytes(target.bytes);
  if (target.stall) *phase.mutable_target_psi() = *target.stall;
  target_percent_ = target.percent;
  target_stall_ = target.stall;
  observer_->OnPhase(phase);
  AddEvent(v1::Event::PHASE_STARTED, NameOf(kind), target.percent);
  SetHeld(held_bytes_, Pace::kUrgent);
}

void RunLog::AddEvent(v1::Event::Kind kind, std::string message, double value) {
  AddEventAt(Offset(), kind, std::move(message), value);
}

void RunLog::AddEventAt(nanoseconds offset, v1::Event::Kind kind, std::string message, double value) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(offset);
  event.set_kind(kind);
  event.set_message(std::move(message));
  event.set_value(value);
  observer_->OnEvent(event);
}

void RunLog::Tell(Notice* notice, bool holds, v1::Event::Kind kind, const std::string& message, double value) {
  const bool begins = holds && !notice->holds;
  notice->holds = holds;
  const nanoseconds now = pacer_->Now();
  if (!begins || (notice->last_told && now - *notice->last_told < kNoticeInterval)) return;
  notice->last_told = now;
  AddEvent(kind, message, value);
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
  if (target_stall_) *state.mutable_target_psi() = *target_stall_;
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
  finished.set_max_lag_bytes(max_lag_bytes_);
  return finished;
}

}  // namespace ballast::pressure
