// Thinning of long series of samples.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ballast/v1/telemetry.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::report {

// Keeps at most `max_samples` of a series whose length nobody knows beforehand: every stride-th sample, and the last.
// The stride begins with 1 and doubles whenever the samples would become too many, so the memory taken is bounded by
// max_samples and one pass over the samples is enough. Not thread-safe.
class SampleThinner {
 public:
  // `max_samples` below 2 is taken as 2: the first and the last sample are always kept.
  explicit SampleThinner(std::uint32_t max_samples);

  // Whether any of the next `count` samples will be kept on account of the stride.
  [[nodiscard]] bool Wants(std::uint32_t count) const;
  // Leaves out the next `count` samples, of which none is wanted.
  void Skip(std::uint32_t count) { next_index_ += count; }
  // Takes the next sample.
  void Add(std::chrono::microseconds offset, const metrics::SampleRow& row);

  // What was kept, with one column for each metric that has a value, ordered by name; offsets and values in the units
  // of the message. Nothing may be added afterwards.
  [[nodiscard]] v1::SampleSeries Finish();

 private:
  struct Sample {
    std::uint64_t index;
    std::chrono::microseconds offset;
    metrics::SampleRow row;
  };

  void DoubleStride();

  const std::size_t max_samples_;
  std::uint64_t stride_ = 1;
  std::uint64_t next_index_ = 0;
  std::vector<Sample> kept_;
  Sample last_{};  // the last one added, kept or not
};

}  // namespace ballast::report
