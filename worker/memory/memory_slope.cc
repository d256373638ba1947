#include "worker/memory/memory_slope.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <vector>

#include "common/base/clock.h"

namespace ballast::memory {
namespace {

constexpr std::size_t kLeastSamples = 8;
constexpr std::size_t kMostSamples = 300;  // some 45,000 pairs
constexpr double kConfidencePercent = 95;
constexpr double kNormal95 = 1.959964;  // beyond which the normal distribution has 2.5 % on each side
constexpr double kLeastChangeShare = 0.01;

// The variance of Kendall's statistic where there is no trend: values that are alike make it smaller.
double VarianceWithoutTrend(std::span<const UsedSample> samples) {
  const auto term = [](double n) { return n * (n - 1) * (2 * n + 5); };
  std::map<std::uint64_t, std::size_t> alike;
  for (const UsedSample& sample : samples) ++alike[sample.used_bytes];
  double variance = term(static_cast<double>(samples.size()));
  for (const auto& [value, count] : alike) variance -= term(static_cast<double>(count));
  return variance / 18;
}

// The element at a fractional rank, by the nearest whole one inside the range.
double AtRank(const std::vector<double>& sorted, double rank) {
  const double last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<std::size_t>(std::clamp(std::round(rank), 0.0, last))];
}

}  // namespace

std::optional<v1::MemorySlope> FitSlope(std::span<const UsedSample> all) {
  if (all.size() < kLeastSamples) return std::nullopt;
  std::vector<UsedSample> samples;
  const std::size_t count = std::min(all.size(), kMostSamples);
  for (std::size_t i = 0; i < count; ++i) samples.push_back(all[i * (all.size() - 1) / (count - 1)]);

  std::vector<double> slopes;
  slopes.reserve(count * (count - 1) / 2);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = i + 1; j < count; ++j) {
      const double seconds = base::ToSeconds(samples[j].time - samples[i].time);
      if (!(seconds > 0)) continue;
      slopes.push_back((static_cast<double>(samples[j].used_bytes) - static_cast<double>(samples[i].used_bytes)) /
                       seconds);
    }
  }
  if (slopes.empty()) return std::nullopt;
  std::ranges::sort(slopes);
  const double middle = static_cast<double>(slopes.size() - 1) / 2;
  const double margin = kNormal95 * std::sqrt(std::max(VarianceWithoutTrend(samples), 0.0)) / 2;

  v1::MemorySlope slope;
  slope.set_sample_count(static_cast<std::uint32_t>(count));
  *slope.mutable_span() = base::ToProto(samples.back().time - samples.front().time);
  slope.set_bytes_per_second((AtRank(slopes, std::floor(middle)) + AtRank(slopes, std::ceil(middle))) / 2);
  slope.set_low_bytes_per_second(AtRank(slopes, middle - margin));
  slope.set_high_bytes_per_second(AtRank(slopes, middle + margin));
  slope.set_confidence_percent(kConfidencePercent);
  return slope;
}

v1::MemoryReport::Trend TrendOf(const std::optional<v1::MemorySlope>& slope, std::uint64_t limit_bytes) {
  if (!slope) return v1::MemoryReport::TOO_FEW_SAMPLES;
  const double change = slope->bytes_per_second() * base::ToSeconds(base::FromProto(slope->span()));
  if (std::abs(change) <= kLeastChangeShare * static_cast<double>(limit_bytes)) return v1::MemoryReport::STABLE;
  if (slope->low_bytes_per_second() > 0) return v1::MemoryReport::RISING;
  if (slope->high_bytes_per_second() < 0) return v1::MemoryReport::FALLING;
  return v1::MemoryReport::STABLE;
}

}  // namespace ballast::memory
