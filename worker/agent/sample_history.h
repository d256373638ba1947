// The last seconds of samples, for the evidence of a run's end.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "ballast/v1/telemetry.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::agent {

// A ring of the youngest samples. All its memory is there from the beginning: when memory is short is when it matters.
// Not thread-safe.
class SampleHistory {
 public:
  struct Entry {
    std::chrono::nanoseconds offset{0};
    metrics::SampleRow row{};
  };

  // Keeps what fits in `span` at one sample each `interval`, at most 1024 samples.
  SampleHistory(std::chrono::nanoseconds span, std::chrono::nanoseconds interval);

  void Add(std::chrono::nanoseconds offset, const metrics::SampleRow& row);

  [[nodiscard]] std::size_t size() const { return size_; }
  // Entry 0 is the oldest.
  [[nodiscard]] const Entry& operator[](std::size_t index) const;
  // The rise of a counter over what is kept; 0 where it has fewer than two values.
  [[nodiscard]] std::uint64_t RiseOf(metrics::MetricId id) const;
  // The youngest value of a metric; metrics::kAbsent where there is none.
  [[nodiscard]] std::int64_t LastOf(metrics::MetricId id) const;

  // Samples that are no older than `span` before the youngest one, as evidence: only the metrics that explain an end,
  // and of them those that have any value.
  [[nodiscard]] v1::SampleSeries ToSeries() const;

 private:
  std::chrono::nanoseconds span_;
  std::vector<Entry> ring_;
  std::size_t next_ = 0;
  std::size_t size_ = 0;
};

}  // namespace ballast::agent
