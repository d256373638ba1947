// Gives runs to devices, and ends them when nobody else does. Inside of the core only.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "coordinator/core/health_desk.h"
#include "coordinator/core/run_queue.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// How long the worker, which enforces the timeout itself, may be late with it until it is told, and again until the run
// is ended without it.
inline constexpr std::chrono::nanoseconds kTimeoutGrace = std::chrono::minutes(2);
// After this time without a word of a run, a worker that says it is idle and has nothing to send is taken to have no
// trace of it.
inline constexpr std::chrono::nanoseconds kSilentRunGrace = std::chrono::seconds(30);
// An assignment that leaves no trace is sent again this often; then its attempt is given up.
inline constexpr std::uint32_t kMaxAssignRepeats = 3;
// A device that goes on with a run that was cancelled is told again after this time, so often; then the run is ended
// without it.
inline constexpr std::chrono::nanoseconds kCancelRepeat = std::chrono::seconds(30);
inline constexpr std::uint32_t kMaxCancelRepeats = 9;
// A device that was busy with something else is asked again after this time at the latest.
inline constexpr std::chrono::nanoseconds kBusyRetry = std::chrono::seconds(10);

// The active run and the timer of a device are in its entry. Not thread-safe.
class Scheduler {
 public:
  Scheduler(State* state, RunQueue* queue, HealthDesk* health) : state_(state), queue_(queue), health_(health) {}

  // Gives the device its next run if it is free for one.
  void Dispatch(Turn& turn, DeviceEntry* device);
  // Whether nothing about the device itself keeps it from a run.
  [[nodiscard]] static bool IsFree(const DeviceEntry& device);
  // A restart: the run is its device's, as it was stored.
  void Adopt(Turn& turn, DeviceEntry* device, RunEntry* run);

  // The device's run has an attempt that ended (FinishAttempt, GiveUpAttempt): another attempt, or the end.
  void ConcludeAttempt(Turn& turn, DeviceEntry* device);
  // The coordinator's own word for the end of the device's attempt, then as ConcludeAttempt.
  void GiveUp(Turn& turn, DeviceEntry* device, v1::OutcomeKind kind, std::string message);
  // The device cannot do its run: GiveUp, or, where it waits for any of several devices, another has it. A run that
  // none is left for ends so.
  void Refused(Turn& turn, DeviceEntry* device, v1::OutcomeKind kind, const std::string& reason);
  // A device has left pools (RunQueue::UpdateMembership, Forget): what it was the last for ends.
  void NoteMembership(Turn& turn);
  // Takes a device's run back: it was not accepted. Others may have it where it waits for any of several devices.
  void TakeBack(Turn& turn, DeviceEntry* device);
  // The device goes on with the attempt before the one it was given, which it has not got: takes that back, and goes on
  // with the original. Returns whether it does.
  bool TryYield(Turn& turn, DeviceEntry* device, RunEntry* run, std::uint32_t attempt);
  // Goes on with the attempt that was given up, if the run still waits for another and the device is free. Returns
  // whether it does.
  bool TryRevive(Turn& turn, DeviceEntry* device, RunEntry* run, std::uint32_t attempt);
  // The device knows nothing of its active run: sends it again, a few times, or ends the attempt.
  void HandleNoTrace(Turn& turn, DeviceEntry* device);

  // Ends a run of a cancelled job, or asks its device to.
  void Cancel(Turn& turn, RunEntry* run);
  // The device says that its active run goes on: tells it again if it should have ended it, and ends the run without it
  // at last.
  void HandleGoesOn(Turn& turn, DeviceEntry* device);
  // Tells the device to end an attempt, whatever the core thinks of it.
  void SendCancel(Turn& turn, DeviceEntry* device, const std::string& run_id, std::uint32_t attempt,
                  v1::OutcomeKind kind, std::string reason);

  // Looks at everything about the device that time can change, and arms its timer.
  void CheckTime(Turn& turn, DeviceEntry* device);
  // Arms the timer for the next thing that time can change.
  void Arm(DeviceEntry* device);
  // Writes down how long the active run is left to its device.
  void RenewLease(Turn& turn, DeviceEntry* device);

 private:
  void Assign(Turn& turn, DeviceEntry* device, RunEntry* run);
  void SendAssignment(Turn& turn, DeviceEntry* device);
  // The device has the run no more. It rests where it had begun it.
  void Release(Turn& turn, DeviceEntry* device, RunEntry* run);
  // The device has not got its run: it waits again, or ends where it was cancelled.
  void Unassign(Turn& turn, DeviceEntry* device);
  // The run waits again.
  void Enqueue(RunEntry* run);
  // Ends what waits for a device after every one that it might go to has refused it.
  void EndWithoutDevice(Turn& turn, JobEntry* job);
  // There is room where a bound held runs back: gives it to the first in order.
  void OfferFleet(Turn& turn);
  void OfferJob(Turn& turn, JobEntry* job);
  void CheckActive(Turn& turn, DeviceEntry* device);
  // The device says that its run goes on: tells it where the run took too long, and ends the run without it where it
  // goes on although it was told. Returns whether it did. Only what a device says counts: while it is out of contact
  // its run may have ended long ago.
  bool EndOverdue(Turn& turn, DeviceEntry* device);
  void End(Turn& turn, RunEntry* run);

  State* state_;
  RunQueue* queue_;
  HealthDesk* health_;
  std::set<std::string> held_back_;  // devices that had something to do when the fleet's bound was reached
};

}  // namespace ballast::core
