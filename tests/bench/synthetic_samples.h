// Samples as a machine under load gives them, without the machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "common/metrics/metric_table.h"

namespace ballast::bench {

// A seeded source of samples. Levels wander in whole pages, counters rise, shares move slowly; how many metrics change
// from one sample to the next depends on the load. Not thread-safe.
class SyntheticSamples {
 public:
  enum class Load {
    kIdle,    // few metrics move
    kHold,    // memory is held, a closed loop corrects it
    kThrash,  // everything moves: reclaim, swap, stalls
  };

  explicit SyntheticSamples(Load load, std::uint32_t seed = 1) : load_(load), random_(seed) {
    row_ = metrics::EmptyRow();
    for (const metrics::Metric& metric : metrics::AllMetrics()) {
      row_[metric.id - 1] = metric.kind == metrics::Kind::kCounter ? Between(0, 50'000'000) : FirstLevel(metric);
    }
  }

  metrics::SampleRow Next() {
    for (const metrics::Metric& metric : metrics::AllMetrics()) {
      if (Between(0, 99) >= ChangeChance(metric)) continue;
      std::int64_t& value = row_[metric.id - 1];
      if (metric.kind == metrics::Kind::kCounter) {
        value += Between(0, load_ == Load::kThrash ? 4000 : 60);
      } else if (metric.name.ends_with("_bytes")) {
        const std::int64_t pages = load_ == Load::kThrash ? 2000 : 120;
        value = std::max<std::int64_t>(0, value + 4096 * Between(-pages, pages));
      } else {
        value = std::max<std::int64_t>(0, value + Between(-40, 40));
      }
    }
    return row_;
  }

 private:
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

  std::int64_t FirstLevel(const metrics::Metric& metric) {
    return metric.name.ends_with("_bytes") ? 4096 * Between(1000, 900'000) : Between(0, 90 * metric.scale);
  }

  // Chance in percent that a metric is another one than in the sample before.
  std::int64_t ChangeChance(const metrics::Metric& metric) const {
    // Sizes of the machine do not change; nor do figures that the kernel renews every two seconds, most of the time.
    if (metric.name.ends_with("_total_bytes") || metric.name == "mem_limit_bytes") return 0;
    if (metric.name.ends_with("_avg10") || metric.name.ends_with("_avg1")) return 5;
    if (metric.name.ends_with("_oom_kill_total")) return 0;
    switch (load_) {
      case Load::kIdle:
        return 15;
      case Load::kHold:
        return 50;
      case Load::kThrash:
        return 90;
    }
    return 0;
  }

  Load load_;
  std::mt19937 random_;
  metrics::SampleRow row_{};
};

}  // namespace ballast::bench
