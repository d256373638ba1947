// Whether a device is quiet enough for a run to begin.
#pragma once

#include <chrono>
#include <deque>
#include <string>

#include "ballast/v1/job.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::agent {

// Looks at the samples of the last seconds. Quiet means: all of these over the whole window,
//   processors busy at most half of what would make the run invalid (ValiditySpec.max_background_cpu_percent),
//   memory in use moved over at most a fifth of what would (max_background_memory_percent),
//   less than a megabyte swapped in and out together,
//   memory stalls (PSI some, avg10) at most 1 %.
// What the device does not tell counts as quiet. Pure. Not thread-safe.
class QuietWatch {
 public:
  // The window is 3 s, or half of `longest` where that is less.
  QuietWatch(const v1::ValiditySpec& spec, std::chrono::nanoseconds longest);

  // Every sample, in order.
  void Add(std::chrono::nanoseconds offset, const metrics::SampleRow& row);

  // Nothing where the device is quiet; otherwise why it is not, in half a sentence.
  [[nodiscard]] std::string Problem() const;

 private:
  struct Entry {
    std::chrono::nanoseconds offset{0};
    metrics::SampleRow row{};
  };

  const double max_busy_percent_;
  const double max_memory_percent_;
  const std::chrono::nanoseconds window_;
  std::deque<Entry> entries_;  // the last before the window, and those in it
};

}  // namespace ballast::agent
