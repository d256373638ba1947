#include "coordinator/report/trend.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>

namespace ballast::report {
namespace {

// The share of Student's distribution between −t and t, for whole degrees of freedom: Abramowitz and Stegun, 26.7.3
// and 26.7.4.
double CentralShare(double t, std::size_t degrees_of_freedom) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees_of_freedom)));
  const double cosine = std::cos(angle);
  const bool odd = degrees_of_freedom % 2 == 1;
  double term = odd ? cosine : 1;
  double sum = 0;
  for (std::size_t i = odd ? 1 : 0; i + 2 <= degrees_of_freedom; i += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(i + 1) / static_cast<double>(i + 2);
  }
  return odd ? 2 / std::numbers::pi * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
}

struct Mean {
  std::size_t n = 0;
  double hours = 0;
  double value = 0;
};

}  // namespace

double StudentT95(std::size_t degrees_of_freedom) {
  const std::size_t degrees = std::min<std::size_t>(degrees_of_freedom, 1000);
  double low = 0;
  double high = 13;  // with one degree of freedom it is 12.7
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (CentralShare(middle, degrees) < 0.95 ? low : high) = middle;
  }
  return high;
}

std::optional<v1::Trend> FitTrend(std::span<const TrendPoint> points) {
  std::map<std::size_t, Mean> means;
  for (const TrendPoint& point : points) {
    Mean& mean = means[point.series];
    ++mean.n;
    // A running mean: the sums of large and close values would lose the differences that matter.
    mean.hours += (point.hours - mean.hours) / static_cast<double>(mean.n);
    mean.value += (point.value - mean.value) / static_cast<double>(mean.n);
  }
  if (points.size() < 3 || points.size() < means.size() + 2) return std::nullopt;
  const std::size_t degrees_of_freedom = points.size() - means.size() - 1;

  double xx = 0;
  double xy = 0;
  for (const TrendPoint& point : points) {
    const Mean& mean = means[point.series];
    xx += (point.hours - mean.hours) * (point.hours - mean.hours);
    xy += (point.hours - mean.hours) * (point.value - mean.value);
  }
  if (!(xx > 0)) return std::nullopt;
  const double slope = xy / xx;
  double residuals = 0;
  for (const TrendPoint& point : points) {
    const Mean& mean = means[point.series];
    const double residual = point.value - mean.value - slope * (point.hours - mean.hours);
    residuals += residual * residual;
  }
  const double error = std::sqrt(residuals / static_cast<double>(degrees_of_freedom) / xx);
  const double margin = StudentT95(degrees_of_freedom) * error;

  v1::Trend trend;
  trend.set_n(static_cast<std::uint32_t>(points.size()));
  trend.set_slope_per_hour(slope);
  trend.set_low_per_hour(slope - margin);
  trend.set_high_per_hour(slope + margin);
  trend.set_rises(slope - margin > 0);
  return trend;
}

}  // namespace ballast::report
