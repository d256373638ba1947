// Which run a device gets next: the order of all that waits. Inside of the core only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/core/fair_share.h"
#include "coordinator/core/state.h"

namespace ballast::core {

// A run's place in the order of one device at one moment.
struct Choice {
  RunEntry* run = nullptr;  // null: nothing waits that the device may take
  double level = 0;         // priority, raised by waiting
  double use = 0;           // of its submitter, device seconds

  // Whether this one comes before another.
  [[nodiscard]] bool Before(const Choice& other) const;
};

// Runs that wait, in the pools of their devices. docs/scheduling.md says in which order they go. What it costs to
// choose depends on how many priorities, submitters and pools there are, not on how many runs wait. Not thread-safe.
class RunQueue {
 public:
  explicit RunQueue(State* state) : state_(state), share_(state->options().scheduling.share_half_life) {}

  // A run waits: for its device, or for any of its job's. INVALID_ARGUMENT where the job's selector cannot be read.
  [[nodiscard]] absl::Status Add(RunEntry* run);
  // It waits no more, because it was taken or has ended.
  void Remove(RunEntry* run);

  // A device is there, or its labels or facts have changed: it becomes a member of the pools that it matches.
  void UpdateMembership(DeviceEntry* device);
  void Forget(DeviceEntry* device);

  // What the device gets when it is free. Whether it is, and whether the fleet has room, is not looked at.
  [[nodiscard]] Choice Next(DeviceEntry* device, const Instant& now);
  // The first run of a lane that the device may take; null where there is none.
  [[nodiscard]] static RunEntry* FirstFor(Lane* lane, const DeviceEntry& device);

  // A run is given to a device, or ends there.
  void Begin(RunEntry* run, std::chrono::nanoseconds now);
  void End(DeviceEntry* device, RunEntry* run, std::chrono::nanoseconds now);
  // A run did not begin on the device, and may go to another: nothing of it counts.
  void Withdraw(DeviceEntry* device, RunEntry* run);
  // A device says anew what it can do.
  void ForgetRefusals(DeviceEntry* device);
  // Of a job whose runs go to any of several devices: those that wait although each device that matches has refused
  // their variant, or had a run of their group.
  [[nodiscard]] static std::vector<RunEntry*> WithoutDevice(const JobEntry& job);
  // Use that is known from before a restart.
  void AddUse(const v1::Run& run, const std::string& submitter, const Instant& now);

  // Runs that wait for this device alone.
  [[nodiscard]] static std::size_t OwnRunCount(const DeviceEntry& device);

 private:
  absl::StatusOr<Pool*> PoolOf(RunEntry* run);
  // Of a priority of which something waits since then, on the device.
  [[nodiscard]] double Level(const DeviceEntry& device, std::int32_t priority, std::chrono::nanoseconds waits_since,
                             std::chrono::nanoseconds now) const;

  State* state_;
  FairShare share_;
  std::map<std::string, std::unique_ptr<Pool>> pools_;  // shared ones, by what they match
};

}  // namespace ballast::core
