#include "worker/pressure/memory_mover.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/pressure/target_control.h"

namespace ballast::pressure {

using std::chrono::nanoseconds;

MemoryMover::MemoryMover(const EngineSeams& seams, RunLog* log, double floor_percent, std::stop_token stop)
    : seams_(seams),
      gauge_(seams.gauge, seams.memory),
      log_(log),
      floor_percent_(floor_percent),
      stop_(std::move(stop)),
      requests_(seams.requests != nullptr ? seams.requests : &no_requests_),
      interrupt_on_stop_(stop_, [requests = requests_] { requests->Interrupt(); }) {}

absl::StatusOr<os::MemoryReading> MemoryMover::Look() {
  BALLAST_RETURN_IF_ERROR(ObeyRequests());
  const nanoseconds begun = seams_.pacer->Now();
  BALLAST_ASSIGN_OR_RETURN(reading_, gauge_.Read());
  // The least seen, which other programs' turns on the processor are not in; it may rise again, slowly.
  const nanoseconds taken = seams_.pacer->Now() - begun;
  look_cost_ = look_cost_.count() == 0 ? taken : std::min(taken, look_cost_ + look_cost_ / 64);
  return reading_;
}

absl::Status MemoryMover::Grow(std::uint64_t bytes) {
  const std::uint64_t before = held_bytes();
  const nanoseconds begun = seams_.pacer->Now();
  const absl::Status status = seams_.memory->Grow(bytes, requests_->Interruption());
  const std::uint64_t held = held_bytes();
  log_->AddFill(held - before, seams_.pacer->Now() - begun);
  log_->SetHeld(held, RunLog::Pace::kMoving);
  if (absl::IsCancelled(status)) return ObeyRequests();
  if (absl::IsResourceExhausted(status)) {
    const std::string message = fmt::format("the kernel refused {} more, with {} held and {} available: {}",
                                            base::FormatBytes(bytes), base::FormatBytes(held),
                                            base::FormatBytes(reading_.available_bytes), std::string(status.message()));
    log_->AddEvent(v1::Event::ALLOCATION_REFUSED, message, static_cast<double>(bytes));
    return absl::ResourceExhaustedError(message);
  }
  return status;
}

void MemoryMover::Shrink(std::uint64_t bytes) {
  const auto tell = [this] { log_->SetHeld(held_bytes(), RunLog::Pace::kMoving); };
  seams_.memory->Shrink(bytes, tell);
  tell();
}

absl::StatusOr<bool> MemoryMover::GrowTo(std::uint64_t held_bytes) {
  while (this->held_bytes() < held_bytes) {
    BALLAST_RETURN_IF_ERROR(WaitWhilePaused());
    BALLAST_RETURN_IF_ERROR(Look().status());
    if (paused()) continue;
    if (this->held_bytes() >= held_bytes) break;
    const std::uint64_t left = held_bytes - this->held_bytes();
    const std::uint64_t room = RoomAboveFloor(reading_, floor_percent_);
    if (room < std::min(left, DeadBandBytes(reading_.limit_bytes) / 4)) {
      TellFloor();
      return false;
    }
    BALLAST_RETURN_IF_ERROR(Grow(std::min({left, room, chunk_bytes()})));
  }
  return true;
}

std::uint64_t MemoryMover::chunk_bytes() const {
  return ChunkBytes(reading_.limit_bytes, log_->FillBytesPerSecond());
}

absl::Status MemoryMover::WaitUntil(nanoseconds deadline) {
  while (true) {
    const nanoseconds wake = std::min(deadline, log_->NextStateDue());
    if (!seams_.pacer->WaitUntil(wake, requests_->Interruption())) {
      BALLAST_RETURN_IF_ERROR(ObeyRequests());
      continue;
    }
    log_->SetHeld(held_bytes(), RunLog::Pace::kResting);
    if (wake == deadline) return absl::OkStatus();
  }
}

absl::Status MemoryMover::WaitWhilePaused() {
  while (paused()) BALLAST_RETURN_IF_ERROR(WaitUntil(pause_end_));
  return absl::OkStatus();
}

absl::Status MemoryMover::BeginHold(const PhaseTarget& target) {
  if (seams_.hold_until_told && !gauge_.frozen()) BALLAST_RETURN_IF_ERROR(gauge_.Freeze());
  holding_ = true;
  log_->BeginPhase(v1::Phase::HOLD, target);
  return absl::OkStatus();
}

absl::Status MemoryMover::WaitForHoldEnd() {
  if (!seams_.hold_until_told) return absl::OkStatus();
  if (!holding_) BALLAST_RETURN_IF_ERROR(BeginHold());
  log_->SetPlanned(std::nullopt);  // nobody here can tell
  while (!requests_->hold_ended()) {
    if (!seams_.pacer->WaitUntil(log_->NextStateDue(), requests_->Interruption())) {
      BALLAST_RETURN_IF_ERROR(ObeyRequests());
      continue;
    }
    log_->SetHeld(held_bytes(), RunLog::Pace::kResting);
  }
  return absl::OkStatus();
}

absl::Status MemoryMover::ObeyRequests() {
  if (stop_.stop_requested()) return Cancelled();
  const std::optional<ShrinkRequest> request = requests_->Take();
  if (!request) return absl::OkStatus();
  const nanoseconds begun = log_->Offset();
  const std::uint64_t before = held_bytes();
  Shrink(std::min(request->bytes, before));
  const std::uint64_t released = before - held_bytes();
  log_->AddEventAt(
      begun, v1::Event::RELEASED,
      fmt::format("{} given back because the worker asked for it; {} are held, and nothing is allocated "
                  "for {}",
                  base::FormatBytes(released), base::FormatBytes(held_bytes()), base::FormatDuration(request->pause)),
      static_cast<double>(released));
  log_->SetHeld(held_bytes(), RunLog::Pace::kUrgent);
  pause_end_ = std::max(pause_end_, seams_.pacer->Now() + request->pause);
  return absl::OkStatus();
}

absl::Status MemoryMover::Cancelled() const {
  return absl::CancelledError(fmt::format("asked to stop after {}, with {} held", base::FormatDuration(log_->Offset()),
                                          base::FormatBytes(held_bytes())));
}

void MemoryMover::TellFloor() {
  const std::uint64_t available = std::min(reading_.available_bytes, reading_.headroom_bytes);
  log_->Tell(&floor_notice_, true, v1::Event::FLOOR_REACHED,
             fmt::format("{} available, the floor is {:g} % of {}: nothing more is allocated",
                         base::FormatBytes(available), floor_percent_, base::FormatBytes(reading_.limit_bytes)),
             static_cast<double>(available));
}

}  // namespace ballast::pressure
