// The durable messages of attempts: takes each over once, and acknowledges it. Inside of the core only.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/record.pb.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// Not thread-safe.
class Ingest {
 public:
  Ingest(State* state, Scheduler* scheduler) : state_(state), scheduler_(scheduler) {}

  // A record from the session of `device`.
  void Record(Turn& turn, DeviceEntry* device, v1::Record record);

  // The answer to LoadRun: the run as it is stored, or NOT_FOUND.
  void RunLoaded(Turn& turn, const std::string& run_id, absl::StatusOr<v1::Run> loaded);

 private:
  void IntoOpen(Turn& turn, DeviceEntry* device, RunEntry* run, v1::Record record);
  // For a run that has ended. `run` is whole where `whole`; otherwise what needs the whole run waits until it is read.
  // Returns whether `run` was changed.
  bool IntoEnded(Turn& turn, SessionId session, v1::Run* run, bool whole, v1::Record record);
  void Wait(Turn& turn, SessionId session, v1::Record record);

  State* state_;
  Scheduler* scheduler_;
};

}  // namespace ballast::core
