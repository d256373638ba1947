// Devices at a user's word: labelled, drained, resumed, forgotten. Inside of the core only.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// Not thread-safe.
class DeviceDesk {
 public:
  DeviceDesk(State* state, RunQueue* queue, HealthDesk* health, Scheduler* scheduler)
      : state_(state), queue_(queue), health_(health), scheduler_(scheduler) {}

  // See Core. The entry returned is valid until the device is removed.
  absl::StatusOr<DeviceEntry*> Find(const std::string& device_id);
  absl::StatusOr<DeviceEntry*> Label(Turn& turn, const v1::LabelDeviceRequest& request);
  absl::StatusOr<DeviceEntry*> SetDrained(Turn& turn, const std::string& device_id, bool drained);
  absl::StatusOr<v1::Device> Remove(Turn& turn, const std::string& device_id);

 private:
  State* state_;
  RunQueue* queue_;
  HealthDesk* health_;
  Scheduler* scheduler_;
};

}  // namespace ballast::core
