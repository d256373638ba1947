#include "coordinator/report/sample_thinner.h"

#include <algorithm>
#include <limits>
#include <string>

namespace ballast::report {
namespace {

double Value(std::int64_t stored, const metrics::Metric& metric) {
  if (stored == metrics::kAbsent) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(stored) / static_cast<double>(metric.scale);
}

}  // namespace

SampleThinner::SampleThinner(std::uint32_t max_samples) : max_samples_(std::max<std::size_t>(max_samples, 2)) {}

bool SampleThinner::Wants(std::uint32_t count) const {
  const std::uint64_t past = next_index_ % stride_;
  const std::uint64_t until_wanted = past == 0 ? 0 : stride_ - past;
  return until_wanted < count;
}

void SampleThinner::Add(std::chrono::microseconds offset, const metrics::SampleRow& row) {
  last_ = {.index = next_index_++, .offset = offset, .row = row};
  if (last_.index % stride_ != 0) return;
  if (kept_.size() == max_samples_) DoubleStride();
  if (last_.index % stride_ == 0) kept_.push_back(last_);
}

void SampleThinner::DoubleStride() {
  stride_ *= 2;
  std::erase_if(kept_, [this](const Sample& sample) { return sample.index % stride_ != 0; });
}

v1::SampleSeries SampleThinner::Finish() {
  if (!kept_.empty() && kept_.back().index < last_.index) {
    if (kept_.size() == max_samples_) DoubleStride();
    kept_.push_back(last_);
  }
  v1::SampleSeries series;
  series.set_stride(
      static_cast<std::uint32_t>(std::min<std::uint64_t>(stride_, std::numeric_limits<std::uint32_t>::max())));
  if (kept_.empty()) return series;
  for (const Sample& sample : kept_) {
    series.add_offset_ms(static_cast<double>(sample.offset.count()) / 1000.0);
  }
  std::vector<const metrics::Metric*> present;
  for (const metrics::Metric& metric : metrics::AllMetrics()) {
    const std::size_t column = metric.id - 1;
    const auto has_value = [column](const Sample& sample) { return sample.row[column] != metrics::kAbsent; };
    if (std::ranges::any_of(kept_, has_value)) present.push_back(&metric);
  }
  std::ranges::sort(present, std::ranges::less(), [](const metrics::Metric* metric) { return metric->name; });
  for (const metrics::Metric* metric : present) {
    v1::SampleColumn& column = *series.add_columns();
    column.set_metric(std::string(metric->name));
    column.mutable_values()->Reserve(static_cast<int>(kept_.size()));
    for (const Sample& sample : kept_) column.add_values(Value(sample.row[metric->id - 1], *metric));
  }
  return series;
}

}  // namespace ballast::report
