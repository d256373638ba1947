// The patterns that take memory without following anything: staircase and allocate_full.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "worker/pressure/memory_mover.h"

namespace ballast::pressure {

// Both carry the ramp and the hold out and give one sentence about what came of it. `recovery` is what the plan has
// after them. CANCELLED after a stop, RESOURCE_EXHAUSTED where the kernel refused, INVALID_ARGUMENT for a pattern that
// makes no sense, codes of the gauge. When memory has to be given back in a fill, the fill goes on after the pause,
// from what is left; what is given back in a hold stays given back, and a staircase takes it again with its next step.
[[nodiscard]] absl::StatusOr<std::string> RunStaircase(const v1::StaircasePattern& pattern, MemoryMover* mover);
[[nodiscard]] absl::StatusOr<std::string> RunAllocateFull(const v1::AllocateFullPattern& pattern,
                                                          std::chrono::nanoseconds recovery, MemoryMover* mover);

}  // namespace ballast::pressure
