// Whether something rises over time, and how sure that is.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "ballast/v1/report.pb.h"

namespace ballast::report {

// A value at a time. Points of one series share a level of their own; all series share the slope.
struct TrendPoint {
  std::size_t series = 0;
  double hours = 0;
  double value = 0;
};

// The line through finite points by least squares, with the 95 % confidence interval of its slope: n, slope_per_hour,
// low_per_hour, high_per_hour and rises; the name is left empty. With one series it is the common regression of a value
// on time, with n − 2 degrees of freedom; each further series takes one more. Nothing where there are fewer than three
// points, no degree of freedom is left, or no series has points at different times.
[[nodiscard]] std::optional<v1::Trend> FitTrend(std::span<const TrendPoint> points);

// The t beyond which Student's distribution has 2.5 % on each side. From 1000 degrees of freedom on as for 1000, which
// is 0.1 % more than it should be. `degrees_of_freedom` is at least 1.
[[nodiscard]] double StudentT95(std::size_t degrees_of_freedom);

}  // namespace ballast::report
