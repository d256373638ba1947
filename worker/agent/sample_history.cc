#include "worker/agent/sample_history.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace ballast::agent {
namespace {

using metrics::MetricId;

constexpr std::int64_t kMaxSamples = 1024;

// The metrics that explain an end. The chunks have all of them; evidence goes wherever its run goes, into every list.
constexpr std::array kExplainingMetrics = {
    MetricId::kMemUsedPercent,
    MetricId::kMemLimitAvailableBytes,
    MetricId::kMemAvailableBytes,
    MetricId::kSwapFreeBytes,
    MetricId::kVmPgmajfaultTotal,
    MetricId::kVmPswpinTotal,
    MetricId::kVmPswpoutTotal,
    MetricId::kVmWorkingsetRefaultAnonTotal,
    MetricId::kVmWorkingsetRefaultFileTotal,
    MetricId::kVmOomKillTotal,
    MetricId::kPsiMemorySomeAvg10,
    MetricId::kPsiMemoryFullAvg10,
    MetricId::kPsiMemorySomeUsTotal,
    MetricId::kPsiMemoryFullUsTotal,
    MetricId::kRunnerResidentBytes,
    MetricId::kRunnerSwapBytes,
    MetricId::kRunnerHeldBytes,
    MetricId::kRunnerTargetPercent,
    MetricId::kCgroupUsageBytes,
    MetricId::kCgroupOomKillTotal,
};
static_assert(std::ranges::is_sorted(kExplainingMetrics), "columns come in the order of the table");

std::size_t CapacityFor(std::chrono::nanoseconds span, std::chrono::nanoseconds interval) {
  const std::int64_t fitting = interval.count() > 0 ? span / interval + 1 : kMaxSamples;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(fitting, 2, kMaxSamples));
}

}  // namespace

SampleHistory::SampleHistory(std::chrono::nanoseconds span, std::chrono::nanoseconds interval)
    : span_(span), ring_(CapacityFor(span, interval)) {}

void SampleHistory::Add(std::chrono::nanoseconds offset, const metrics::SampleRow& row) {
  ring_[next_] = {offset, row};
  next_ = (next_ + 1) % ring_.size();
  size_ = std::min(size_ + 1, ring_.size());
}

const SampleHistory::Entry& SampleHistory::operator[](std::size_t index) const {
  return ring_[(next_ + ring_.size() - size_ + index) % ring_.size()];
}

std::uint64_t SampleHistory::RiseOf(metrics::MetricId id) const {
  std::int64_t first = metrics::kAbsent;
  for (std::size_t i = 0; i < size_ && first == metrics::kAbsent; ++i) first = (*this)[i].row[metrics::IndexOf(id)];
  const std::int64_t last = LastOf(id);
  return first == metrics::kAbsent || last <= first ? 0 : static_cast<std::uint64_t>(last - first);
}

std::int64_t SampleHistory::LastOf(metrics::MetricId id) const {
  for (std::size_t i = size_; i > 0; --i) {
    const std::int64_t value = (*this)[i - 1].row[metrics::IndexOf(id)];
    if (value != metrics::kAbsent) return value;
  }
  return metrics::kAbsent;
}

v1::SampleSeries SampleHistory::ToSeries() const {
  v1::SampleSeries series;
  series.set_stride(1);
  if (size_ == 0) return series;
  std::size_t begin = 0;
  while ((*this)[begin].offset < (*this)[size_ - 1].offset - span_) ++begin;
  for (std::size_t i = begin; i < size_; ++i) {
    series.add_offset_ms(std::chrono::duration<double, std::milli>((*this)[i].offset).count());
  }
  for (const MetricId id : kExplainingMetrics) {
    const std::size_t index = metrics::IndexOf(id);
    const metrics::Metric& metric = metrics::AllMetrics()[index];
    bool has_value = false;
    for (std::size_t i = begin; i < size_ && !has_value; ++i) has_value = (*this)[i].row[index] != metrics::kAbsent;
    if (!has_value) continue;
    v1::SampleColumn* const column = series.add_columns();
    column->set_metric(std::string(metric.name));
    for (std::size_t i = begin; i < size_; ++i) {
      const std::int64_t stored = (*this)[i].row[index];
      column->add_values(stored == metrics::kAbsent ? std::numeric_limits<double>::quiet_NaN()
                                                    : static_cast<double>(stored) / static_cast<double>(metric.scale));
    }
  }
  return series;
}

}  // namespace ballast::agent
