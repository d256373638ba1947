// Where memory is going.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "ballast/v1/memory_report.pb.h"

namespace ballast::memory {

// Memory in use at one instant.
struct UsedSample {
  std::chrono::nanoseconds time{0};  // on any clock that does not jump
  std::uint64_t used_bytes = 0;
};

// The slope by Theil and Sen with its 95 % interval, over the samples or, where there are more than a few hundred, over
// as many of them, evenly spread. Nothing where there are fewer than eight, or none at different times. `samples` are
// in order of time. Pure.
[[nodiscard]] std::optional<v1::MemorySlope> FitSlope(std::span<const UsedSample> samples);

// What that means for a machine with this limit: see MemoryReport.trend. Pure.
[[nodiscard]] v1::MemoryReport::Trend TrendOf(const std::optional<v1::MemorySlope>& slope, std::uint64_t limit_bytes);

}  // namespace ballast::memory
