// The pattern that wants tasks to stall on memory: a burst with a PSI target.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "worker/pressure/memory_mover.h"

namespace ballast::pressure {

// Moves memory until tasks stall for the wanted share of time, and holds that for the burst's duration. Gives one
// sentence about what came of it. The floor counts free swap as left, because a stall comes only when memory is full.
// INVALID_ARGUMENT where the kernel does not tell of
// stalls; CANCELLED after a stop, RESOURCE_EXHAUSTED where the kernel refused, codes of the gauge.
[[nodiscard]] absl::StatusOr<std::string> RunStallBurst(const v1::BurstPattern& pattern,
                                                        std::chrono::nanoseconds recovery, MemoryMover* mover);

}  // namespace ballast::pressure
