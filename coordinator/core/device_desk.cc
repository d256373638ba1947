#include "coordinator/core/device_desk.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "coordinator/core/labels.h"

namespace ballast::core {

absl::StatusOr<DeviceEntry*> DeviceDesk::Find(const std::string& device_id) {
  if (DeviceEntry* device = state_->FindDevice(device_id)) return device;
  std::vector<std::string> names;
  for (const auto& [name, entry] : state_->devices()) names.push_back(name);
  const std::string near =
      state_->options().did_you_mean ? state_->options().did_you_mean(device_id, names) : std::string();
  return absl::NotFoundError(fmt::format("no device '{}'{}{}", device_id, near.empty() ? "" : "; ", near));
}

absl::StatusOr<DeviceEntry*> DeviceDesk::Label(Turn& turn, const v1::LabelDeviceRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(DeviceEntry * device, Find(request.device_id()));
  BALLAST_RETURN_IF_ERROR(ChangeLabels(request, device->worker_labels, &device->device));
  turn.Changed(device);
  queue_->UpdateMembership(device);
  scheduler_->NoteMembership(turn);
  scheduler_->Dispatch(turn, device);
  return device;
}

absl::StatusOr<DeviceEntry*> DeviceDesk::SetDrained(Turn& turn, const std::string& device_id, bool drained) {
  BALLAST_ASSIGN_OR_RETURN(DeviceEntry * device, Find(device_id));
  device->device.set_drained(drained);
  if (!drained) health_->Clear(turn, device);
  turn.Changed(device);
  scheduler_->Dispatch(turn, device);
  return device;
}

absl::StatusOr<v1::Device> DeviceDesk::Remove(Turn& turn, const std::string& device_id) {
  BALLAST_ASSIGN_OR_RETURN(DeviceEntry * device, Find(device_id));
  if (device->session != 0) {
    return absl::FailedPreconditionError(fmt::format("device {} is connected; stop its worker first", device_id));
  }
  const std::size_t unended = RunQueue::OwnRunCount(*device) + (device->active != nullptr ? 1 : 0);
  if (unended > 0) {
    return absl::FailedPreconditionError(
        fmt::format("device {} has {} runs that have not ended; cancel their jobs first", device_id, unended));
  }
  if (!device->reservations.empty()) {
    const v1::Reservation& reservation = *device->reservations.front();
    return absl::FailedPreconditionError(fmt::format("device {} is reserved for {} ({}); end the reservation first",
                                                     device_id, reservation.holder(), reservation.reservation_id()));
  }
  queue_->Forget(device);
  v1::Device removed = device->device;  // a copy: its name is its place among the timers
  state_->RemoveDevice(device_id);
  turn.Write(DeleteDevice{device_id});
  scheduler_->NoteMembership(turn);
  return removed;
}

}  // namespace ballast::core
