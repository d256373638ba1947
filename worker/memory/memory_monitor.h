// Readings of memory, and what they come to over time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/memory_report.pb.h"
#include "common/metrics/metric_table.h"
#include "common/os/memory_gauge.h"
#include "worker/memory/memory_slope.h"
#include "worker/telemetry/sampler.h"

namespace ballast::memory {

// Reads by the worker's sampler. Not thread-safe.
class MemoryMonitor {
 public:
  // `root` is where /proc and /sys are found. Codes of Sampler::Open and MemoryGauge::Open.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryMonitor>> Open(const std::string& root);

  // Memory now. NOT_FOUND where /proc/meminfo does not tell.
  [[nodiscard]] absl::StatusOr<v1::MemoryReading> Read();

  // Forgets what was added.
  void Begin();
  // A reading counts for peaks and trend. The last hour of one reading a second is kept.
  void Add(std::chrono::nanoseconds time, const v1::MemoryReading& reading);
  // What was added so far; nothing where nothing was.
  void Fill(v1::MemoryReport* report) const;

 private:
  MemoryMonitor() = default;

  std::unique_ptr<telemetry::Sampler> sampler_;
  std::unique_ptr<os::MemoryGauge> gauge_;  // only it knows where the limit comes from
  metrics::SampleRow row_{};
  std::deque<UsedSample> samples_;
  v1::MemoryPeaks peaks_;
  std::uint64_t limit_bytes_ = 0;
};

}  // namespace ballast::memory
