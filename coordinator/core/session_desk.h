// What workers say of themselves: who is connected, what they hold, that they are alive. Inside of the core only.
#pragma once

#include "ballast/v1/worker_service.pb.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// Not thread-safe.
class SessionDesk {
 public:
  SessionDesk(State* state, RunQueue* queue, Scheduler* scheduler)
      : state_(state), queue_(queue), scheduler_(scheduler) {}

  // Begins a session, ends an earlier one of the same device, and brings both sides' views of the device's runs
  // together.
  void Hello(Turn& turn, SessionId session, v1::Hello hello);
  void Disconnect(Turn& turn, SessionId session);
  void Heartbeat(Turn& turn, SessionId session, const v1::Heartbeat& heartbeat);
  void Progress(Turn& turn, SessionId session, v1::RunProgress progress);
  void AssignmentRejected(Turn& turn, SessionId session, const v1::AssignmentRejected& rejected);

  // Every message is a sign of life. Null where the session is not, or no longer, one of the core's.
  DeviceEntry* Touch(Turn& turn, SessionId session);

 private:
  // What the worker is doing that the core does not have as the device's run.
  void Occupy(Turn& turn, DeviceEntry* device, const std::string& run_id, std::uint32_t attempt);
  void Reconcile(Turn& turn, DeviceEntry* device, const v1::Hello& hello);

  State* state_;
  RunQueue* queue_;
  Scheduler* scheduler_;
};

}  // namespace ballast::core
