// The patterns that want memory in use to be somewhere, all processes counted: burst, sawtooth and trace.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "worker/pressure/memory_mover.h"

namespace ballast::pressure {

// Each carries the ramp and the hold out and gives one sentence about what came of it. `recovery` is what the plan has
// after them. CANCELLED after a stop, RESOURCE_EXHAUSTED where the kernel refused, INVALID_ARGUMENT for a pattern that
// makes no sense, codes of the gauge.

// A burst to a share of the limit or to bytes.
[[nodiscard]] absl::StatusOr<std::string> RunBurst(const v1::BurstPattern& pattern, std::chrono::nanoseconds recovery,
                                                   MemoryMover* mover);
[[nodiscard]] absl::StatusOr<std::string> RunSawtooth(const v1::SawtoothPattern& pattern,
                                                      std::chrono::nanoseconds recovery, MemoryMover* mover);
[[nodiscard]] absl::StatusOr<std::string> RunTrace(const v1::TracePattern& pattern, std::chrono::nanoseconds recovery,
                                                   MemoryMover* mover);

}  // namespace ballast::pressure
