// What waiting runs wait for. Inside of the core only.
#pragma once

#include <optional>
#include <string>

#include "coordinator/core/run_queue.h"
#include "coordinator/core/state.h"

namespace ballast::core {

// Of the present moment; nothing of it is kept. Not thread-safe.
class WaitReasons {
 public:
  WaitReasons(State* state, RunQueue* queue) : state_(state), queue_(queue) {}

  // Sets Job.wait_reasons: what holds up the most runs first, the first few.
  void Fill(const JobEntry& entry, const Instant& now, v1::Job* job) const;

 private:
  // What keeps the first run of a lane from this device; nothing where it is about to get it.
  [[nodiscard]] std::optional<v1::WaitReason> At(DeviceEntry* device, const JobEntry& job, const Instant& now) const;
  // The same of devices of which any would do.
  [[nodiscard]] std::optional<v1::WaitReason> AtAny(Lane* lane, const Instant& now) const;

  State* state_;
  RunQueue* queue_;
};

}  // namespace ballast::core
