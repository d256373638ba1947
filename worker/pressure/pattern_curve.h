// The shape of each pattern over time, and its figures: pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::pressure {

// How many steps of a staircase have begun at this time since its first: the first begins at once, each other an
// interval after the one before.
[[nodiscard]] std::uint32_t StepsBegun(const v1::StaircasePattern& pattern, std::chrono::nanoseconds elapsed);

// When the step with this number (from 1) begins, after the first. Computed from the beginning, so that delays do not
// add up.
[[nodiscard]] std::chrono::nanoseconds StepBegin(const v1::StaircasePattern& pattern, std::uint32_t index);

// Bytes that are to be held after the step with this number. Saturates.
[[nodiscard]] std::uint64_t StepTarget(const v1::StaircasePattern& pattern, std::uint32_t index);

// Memory in use that a sawtooth wants at this time since the beginning of its first cycle, in percent: from the lowest
// to the highest in the first half of each cycle and back in the second. The lowest before and after.
[[nodiscard]] double SawtoothPercent(const v1::SawtoothPattern& pattern, std::chrono::nanoseconds elapsed);

// Cycles of a sawtooth that are complete at this time since the beginning of its first.
[[nodiscard]] std::uint32_t CyclesCompleted(const v1::SawtoothPattern& pattern, std::chrono::nanoseconds elapsed);

// How long all cycles take together. Saturates.
[[nodiscard]] std::chrono::nanoseconds CyclesDuration(const v1::SawtoothPattern& pattern);

// OK for a trace whose points tell a curve: two at least, in order, each with a value. INVALID_ARGUMENT with the place
// otherwise.
[[nodiscard]] absl::Status CheckTrace(const v1::TracePattern& pattern);

// Memory in use that a trace wants at this time since its first point, in bytes: linear between its points, the first
// value before and the last after. Percentages are of `limit_bytes`. The trace must pass CheckTrace.
[[nodiscard]] std::uint64_t TraceBytes(const v1::TracePattern& pattern, std::chrono::nanoseconds elapsed,
                                       std::uint64_t limit_bytes);

// From the first point of a trace to the last.
[[nodiscard]] std::chrono::nanoseconds TraceDuration(const v1::TracePattern& pattern);

// The planned time of a whole run: baseline, `ramp` (the time until the first target is reached, where the pattern
// cannot plan it: not of a staircase), the pattern, recovery. Absent where nobody can tell: until the OOM kill.
[[nodiscard]] std::optional<std::chrono::nanoseconds> PlannedDuration(const v1::PressureWorkload& workload,
                                                                      std::chrono::nanoseconds ramp);

// A share of `limit_bytes`: what `percent` means everywhere. Below 0 and above 100 are taken for 0 and 100.
[[nodiscard]] std::uint64_t BytesOfPercent(std::uint64_t limit_bytes, double percent);

}  // namespace ballast::pressure
