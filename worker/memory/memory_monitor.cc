#include "worker/memory/memory_monitor.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace ballast::memory {
namespace {

using metrics::MetricId;

constexpr std::size_t kMostSamples = 3600;

std::optional<double> ValueOf(const metrics::SampleRow& row, MetricId id) {
  const std::int64_t stored = row[metrics::IndexOf(id)];
  if (stored == metrics::kAbsent) return std::nullopt;
  const metrics::Metric* const metric = metrics::FindMetric(static_cast<std::uint32_t>(id));
  return static_cast<double>(stored) / static_cast<double>(metric->scale);
}

std::uint64_t BytesOf(const metrics::SampleRow& row, MetricId id) {
  const std::int64_t stored = row[metrics::IndexOf(id)];
  return stored == metrics::kAbsent || stored < 0 ? 0 : static_cast<std::uint64_t>(stored);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryMonitor>> MemoryMonitor::Open(const std::string& root) {
  std::unique_ptr<MemoryMonitor> monitor(new MemoryMonitor());
  BALLAST_ASSIGN_OR_RETURN(monitor->sampler_, telemetry::Sampler::Open(root));
  BALLAST_ASSIGN_OR_RETURN(monitor->gauge_, os::MemoryGauge::Open(root));
  monitor->sampler_->WatchProcess(::getpid());
  return monitor;
}

absl::StatusOr<v1::MemoryReading> MemoryMonitor::Read() {
  BALLAST_ASSIGN_OR_RETURN(const os::MemoryReading memory, gauge_->Read());
  sampler_->Sample(&row_);
  v1::MemoryReading reading;
  *reading.mutable_time() = base::ToProto(base::RealClock().Now());
  reading.set_limit_bytes(memory.limit_bytes);
  reading.set_limit_source(gauge_->limit_source());
  reading.set_available_bytes(std::min(memory.available_bytes, memory.headroom_bytes));
  reading.set_used_bytes(memory.used_bytes());
  reading.set_used_percent(memory.used_percent());
  const std::uint64_t swap_total = BytesOf(row_, MetricId::kSwapTotalBytes);
  reading.set_swap_total_bytes(swap_total);
  reading.set_swap_used_bytes(swap_total - std::min(swap_total, BytesOf(row_, MetricId::kSwapFreeBytes)));
  if (const auto some = ValueOf(row_, MetricId::kPsiMemorySomeAvg10)) reading.set_psi_some_avg10(*some);
  if (const auto full = ValueOf(row_, MetricId::kPsiMemoryFullAvg10)) reading.set_psi_full_avg10(*full);
  // The process that the sampler watches is this one.
  reading.set_process_resident_bytes(BytesOf(row_, MetricId::kRunnerResidentBytes));
  reading.set_process_anon_bytes(BytesOf(row_, MetricId::kRunnerAnonBytes));
  reading.set_process_swap_bytes(BytesOf(row_, MetricId::kRunnerSwapBytes));
  return reading;
}

void MemoryMonitor::Begin() {
  samples_.clear();
  peaks_.Clear();
}

void MemoryMonitor::Add(std::chrono::nanoseconds time, const v1::MemoryReading& reading) {
  if (samples_.empty()) peaks_.set_min_available_bytes(reading.available_bytes());
  samples_.push_back({time, reading.used_bytes()});
  if (samples_.size() > kMostSamples) samples_.pop_front();
  limit_bytes_ = reading.limit_bytes();
  peaks_.set_used_bytes(std::max(peaks_.used_bytes(), reading.used_bytes()));
  peaks_.set_used_percent(std::max(peaks_.used_percent(), reading.used_percent()));
  peaks_.set_min_available_bytes(std::min(peaks_.min_available_bytes(), reading.available_bytes()));
  peaks_.set_swap_used_bytes(std::max(peaks_.swap_used_bytes(), reading.swap_used_bytes()));
  peaks_.set_process_resident_bytes(std::max(peaks_.process_resident_bytes(), reading.process_resident_bytes()));
  if (reading.has_psi_some_avg10()) {
    peaks_.set_psi_some_avg10(std::max(peaks_.psi_some_avg10(), reading.psi_some_avg10()));
  }
  if (reading.has_psi_full_avg10()) {
    peaks_.set_psi_full_avg10(std::max(peaks_.psi_full_avg10(), reading.psi_full_avg10()));
  }
}

void MemoryMonitor::Fill(v1::MemoryReport* report) const {
  const std::vector<UsedSample> samples(samples_.begin(), samples_.end());
  const std::optional<v1::MemorySlope> slope = FitSlope(samples);
  report->set_trend(TrendOf(slope, limit_bytes_));
  if (slope) *report->mutable_slope() = *slope;
  if (!samples_.empty()) *report->mutable_peaks() = peaks_;
}

}  // namespace ballast::memory
