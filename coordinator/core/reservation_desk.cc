#include "coordinator/core/reservation_desk.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "coordinator/core/selector.h"
#include "coordinator/core/utc_text.h"

namespace ballast::core {
namespace {

// A beginning that is not longer ago means now: clocks differ.
constexpr std::chrono::nanoseconds kLateBeginning = std::chrono::minutes(5);

constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxNoteBytes = 512;

base::SystemTime StartOf(const v1::Reservation& reservation) {
  return base::FromProto(reservation.start_time());
}

base::SystemTime EndOf(const v1::Reservation& reservation) {
  return base::FromProto(reservation.end_time());
}

bool Overlap(const v1::Reservation& one, const v1::Reservation& other) {
  return StartOf(one) < EndOf(other) && StartOf(other) < EndOf(one);
}

// The reservation of the device that is in the way; null where none is.
const v1::Reservation* ConflictOf(const DeviceEntry& device, const v1::Reservation& wanted) {
  for (const v1::Reservation* reservation : device.reservations) {
    if (reservation->holder() != wanted.holder() && Overlap(*reservation, wanted)) return reservation;
  }
  return nullptr;
}

// Whether its holder has the device in that time already.
bool IsHeld(const DeviceEntry& device, const v1::Reservation& wanted) {
  return std::ranges::any_of(device.reservations, [&](const v1::Reservation* reservation) {
    return reservation->holder() == wanted.holder() && Overlap(*reservation, wanted);
  });
}

absl::Status Conflict(const DeviceEntry& device, const v1::Reservation& reservation) {
  return absl::AlreadyExistsError(
      fmt::format("device {} is reserved for {} from {} to {} ({})", device.device.device_id(), reservation.holder(),
                  UtcText(StartOf(reservation)), UtcText(EndOf(reservation)), reservation.reservation_id()));
}

absl::Status CheckWords(const v1::CreateReservationRequest& request) {
  if (request.holder().empty() || request.holder().size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(fmt::format("holder: a name has 1 to {} bytes", kMaxNameBytes));
  }
  if (request.note().size() > kMaxNoteBytes) {
    return absl::InvalidArgumentError(
        fmt::format("note: {} bytes; at most {} are accepted", request.note().size(), kMaxNoteBytes));
  }
  if (!request.has_end_time()) return absl::InvalidArgumentError("end_time: a reservation has an end");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<DeviceEntry*>> ReservationDesk::Choose(const v1::DeviceSelector& selector,
                                                                  const v1::Reservation& reservation) {
  BALLAST_ASSIGN_OR_RETURN(const DeviceFilter filter, DeviceFilter::Make(selector, v1::Workload()));
  BALLAST_ASSIGN_OR_RETURN(std::vector<DeviceEntry*> matching, MatchingDevices(state_, selector, filter));
  if (selector.count() == 0) {
    for (const DeviceEntry* device : matching) {
      if (const v1::Reservation* other = ConflictOf(*device, reservation)) return Conflict(*device, *other);
    }
    return matching;
  }
  const std::size_t matched = matching.size();
  std::erase_if(matching, [&](const DeviceEntry* device) { return ConflictOf(*device, reservation) != nullptr; });
  if (matching.size() < selector.count()) {
    return absl::FailedPreconditionError(
        fmt::format("{} devices are wanted; {} match, of which {} are not reserved for somebody else in that time",
                    selector.count(), matched, matching.size()));
  }
  // Whoever asks for some more gets others; of those the ones that can be used at once come first.
  std::ranges::stable_sort(matching, {}, [&](const DeviceEntry* device) {
    return std::tuple(IsHeld(*device, reservation), device->quarantined() || device->device.drained(),
                      !device->online(), device->active != nullptr);
  });
  matching.resize(selector.count());
  std::ranges::sort(matching, {}, [](const DeviceEntry* device) { return device->device.device_id(); });
  return matching;
}

absl::StatusOr<v1::Reservation> ReservationDesk::Create(Turn& turn, const std::string& reservation_id,
                                                        const v1::CreateReservationRequest& request) {
  if (state_->reservations.contains(reservation_id)) {
    return absl::InternalError(fmt::format("reservation identifier {} was given twice", reservation_id));
  }
  BALLAST_RETURN_IF_ERROR(CheckWords(request));
  v1::Reservation reservation;
  reservation.set_reservation_id(reservation_id);
  reservation.set_holder(request.holder());
  reservation.set_note(request.note());
  *reservation.mutable_start_time() = request.has_start_time() ? request.start_time() : base::ToProto(turn.wall());
  *reservation.mutable_end_time() = request.end_time();
  *reservation.mutable_create_time() = base::ToProto(turn.wall());
  if (EndOf(reservation) <= std::max(StartOf(reservation), turn.wall())) {
    return absl::InvalidArgumentError(
        fmt::format("end_time: {} is not after its beginning, or is over", UtcText(EndOf(reservation))));
  }
  if (StartOf(reservation) < turn.wall() - kLateBeginning) {
    return absl::InvalidArgumentError(
        fmt::format("start_time: {} is over; leave it out to begin now", UtcText(StartOf(reservation))));
  }
  if (EndOf(reservation) - StartOf(reservation) > kLongestReservation) {
    return absl::InvalidArgumentError("end_time: a reservation lasts 30 days at most");
  }
  BALLAST_ASSIGN_OR_RETURN(const std::vector<DeviceEntry*> devices, Choose(request.devices(), reservation));
  for (DeviceEntry* device : devices) {
    reservation.add_device_ids(device->device.device_id());
    turn.Changed(device);
  }
  turn.Write(PutReservation{reservation});
  Restore(reservation);
  Arm(turn.now());
  return reservation;
}

std::vector<v1::Reservation> ReservationDesk::List(const std::string& holder) const {
  std::vector<v1::Reservation> found;
  for (const auto& [reservation_id, reservation] : state_->reservations) {
    if (holder.empty() || reservation.holder() == holder) found.push_back(reservation);
  }
  std::ranges::stable_sort(found, {}, StartOf);
  return found;
}

absl::StatusOr<v1::Reservation> ReservationDesk::End(Turn& turn, const std::string& reservation_id,
                                                     const std::string& requester, bool administrator) {
  const auto known = state_->reservations.find(reservation_id);
  if (known == state_->reservations.end()) {
    std::vector<std::string> names;
    for (const auto& [name, reservation] : state_->reservations) names.push_back(name);
    const std::string near =
        state_->options().did_you_mean ? state_->options().did_you_mean(reservation_id, names) : std::string();
    return absl::NotFoundError(
        fmt::format("no reservation '{}' that has not ended{}{}", reservation_id, near.empty() ? "" : "; ", near));
  }
  if (!administrator && !requester.empty() && requester != known->second.holder()) {
    return absl::PermissionDeniedError(
        fmt::format("reservation {} is {}'s, not {}'s", reservation_id, known->second.holder(), requester));
  }
  v1::Reservation ended = known->second;
  *ended.mutable_end_time() = base::ToProto(std::min(EndOf(ended), turn.wall()));
  Remove(turn, reservation_id);
  return ended;
}

void ReservationDesk::Restore(v1::Reservation reservation) {
  const std::string reservation_id = reservation.reservation_id();
  Attach(&state_->reservations.insert_or_assign(reservation_id, std::move(reservation)).first->second);
}

void ReservationDesk::Attach(const v1::Reservation* reservation) {
  for (const std::string& device_id : reservation->device_ids()) {
    DeviceEntry* device = state_->FindDevice(device_id);
    if (device == nullptr) continue;
    device->reservations.push_back(reservation);
    std::ranges::stable_sort(device->reservations, {}, [](const v1::Reservation* entry) { return StartOf(*entry); });
  }
}

void ReservationDesk::Remove(Turn& turn, const std::string& reservation_id) {
  const auto gone = state_->reservations.find(reservation_id);
  std::vector<DeviceEntry*> freed;
  for (const std::string& device_id : gone->second.device_ids()) {
    DeviceEntry* device = state_->FindDevice(device_id);
    if (device == nullptr) continue;
    std::erase(device->reservations, &gone->second);
    freed.push_back(device);
    turn.Changed(device);
  }
  state_->reservations.erase(gone);
  turn.Write(DeleteReservation{reservation_id});
  for (DeviceEntry* device : freed) scheduler_->Dispatch(turn, device);
}

void ReservationDesk::CheckTime(Turn& turn) {
  std::vector<std::string> over;
  for (const auto& [reservation_id, reservation] : state_->reservations) {
    if (EndOf(reservation) <= turn.wall()) {
      over.push_back(reservation_id);
      continue;
    }
    if (StartOf(reservation) > turn.wall()) continue;
    for (const std::string& device_id : reservation.device_ids()) {
      DeviceEntry* device = state_->FindDevice(device_id);
      if (device == nullptr || device->device.reserved_for() == reservation.holder()) continue;
      turn.Changed(device);
      scheduler_->Dispatch(turn, device);
    }
  }
  for (const std::string& reservation_id : over) Remove(turn, reservation_id);
  Arm(turn.now());
}

void ReservationDesk::Arm(const Instant& now) {
  std::chrono::nanoseconds next = kLookAtClock;
  if (state_->reservations.empty()) return;
  for (const auto& [reservation_id, reservation] : state_->reservations) {
    for (const base::SystemTime time : {StartOf(reservation), EndOf(reservation)}) {
      if (time > now.wall) next = std::min(next, time - now.wall);
    }
  }
  state_->ArmPlans(now.steady + next);
}

}  // namespace ballast::core
