#include "cli/memory_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "common/base/clock.h"

namespace ballast::cli {
namespace {

using Point = MemoryCurve::Point;

constexpr int kHalvings = 30;

double Slope(const Point& from, const Point& to, double to_value) {
  return (to_value - from.value) / base::ToSeconds(to.offset - from.offset);
}

// The points of a curve between which straight lines stay within `tolerance` of all others.
std::vector<Point> SwingDoor(const std::vector<Point>& points, double tolerance) {
  std::vector<Point> kept = {points.front()};
  // The slopes of the lines from the last kept point that pass everything since within the tolerance.
  double lowest = -std::numeric_limits<double>::infinity();
  double highest = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (const double slope = Slope(kept.back(), points[i], points[i].value); slope < lowest || slope > highest) {
      // The line to the point before this one was still good.
      kept.push_back(points[i - 1]);
      lowest = -std::numeric_limits<double>::infinity();
      highest = std::numeric_limits<double>::infinity();
    }
    lowest = std::max(lowest, Slope(kept.back(), points[i], points[i].value - tolerance));
    highest = std::min(highest, Slope(kept.back(), points[i], points[i].value + tolerance));
  }
  kept.push_back(points.back());
  return kept;
}

}  // namespace

ThinnedCurve ThinCurve(const MemoryCurve& curve, std::size_t most) {
  if (curve.points.size() <= most) return {.curve = curve};
  const auto [least, greatest] = std::ranges::minmax(curve.points, {}, &Point::value);
  double too_small = 0;
  double enough = greatest.value - least.value;  // two points are within it of everything
  ThinnedCurve thinned{.curve = {.unit = curve.unit, .points = SwingDoor(curve.points, enough)}, .deviation = enough};
  for (int i = 0; i < kHalvings && enough > too_small; ++i) {
    const double tolerance = i == 0 ? 0 : std::midpoint(too_small, enough);
    std::vector<Point> points = SwingDoor(curve.points, tolerance);
    if (points.size() > most) {
      too_small = tolerance;
    } else {
      enough = tolerance;
      thinned.curve.points = std::move(points);
      thinned.deviation = tolerance;
    }
  }
  return thinned;
}

void FillTracePoints(const MemoryCurve& curve, v1::TracePattern* trace) {
  trace->clear_points();
  for (const Point& point : curve.points) {
    v1::TracePoint& added = *trace->add_points();
    *added.mutable_offset() = base::ToProto(point.offset - curve.points.front().offset);
    if (curve.unit == MemoryCurve::Unit::kPercent) {
      added.set_used_percent(point.value);
    } else {
      added.set_used_bytes(static_cast<std::uint64_t>(std::llround(point.value)));
    }
  }
}

}  // namespace ballast::cli
