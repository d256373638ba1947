// A curve of memory in use over time, and how it becomes the points of a trace.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "ballast/v1/workload.pb.h"

namespace ballast::cli {

// What was recorded: offsets from the beginning of the curve, rising, and a value each.
struct MemoryCurve {
  enum class Unit {
    kPercent,  // of the limit
    kBytes,
  };
  struct Point {
    std::chrono::nanoseconds offset{0};
    double value = 0;
  };

  Unit unit = Unit::kPercent;
  std::vector<Point> points;
};

// Most points that a trace has (`TracePattern.points`).
inline constexpr std::size_t kMaxTracePoints = 20'000;

// A curve with fewer points, and how far it is from the one it was made of at most, in the curve's unit.
struct ThinnedCurve {
  MemoryCurve curve;
  double deviation = 0;
};

// The curve with at most `most` of its points (at least 2: the first and the last are always among them), chosen so
// that the lines between them stay as close to all of its points as that number allows: the swinging door algorithm
// (Bristol, "Swinging Door Trending", 1990) with the smallest tolerance that suffices, found by halving. So a peak of a
// single point stays, where an average or every n-th point would lose it. Takes time in proportion to the points, some
// dozen times. A curve that is short enough is unchanged.
[[nodiscard]] ThinnedCurve ThinCurve(const MemoryCurve& curve, std::size_t most);

// Replaces the points of `trace` by those of the curve, its first one at offset 0.
void FillTracePoints(const MemoryCurve& curve, v1::TracePattern* trace);

}  // namespace ballast::cli
