#include "coordinator/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace ballast::report {
namespace {

// The quantile of ascending values by linear interpolation between the closest ranks. Even halves of the middle two
// make it the usual median.
double Quantile(const std::vector<double>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], rank - static_cast<double>(below));
}

}  // namespace

v1::FigureStatistics ComputeStatistics(std::vector<double> values) {
  v1::FigureStatistics statistics;
  if (values.empty()) return statistics;
  std::sort(values.begin(), values.end());
  statistics.set_n(static_cast<std::uint32_t>(values.size()));
  statistics.set_min(values.front());
  statistics.set_median(Quantile(values, 0.5));
  statistics.set_p95(Quantile(values, 0.95));
  statistics.set_max(values.back());
  return statistics;
}

}  // namespace ballast::report
