#include "worker/agent/quiet_watch.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace ballast::agent {
namespace {

using metrics::MetricId;
using metrics::SampleRow;

constexpr std::chrono::nanoseconds kWindow = std::chrono::seconds(3);
constexpr double kShareOfCpu = 0.5;
constexpr double kShareOfMemory = 0.2;
constexpr double kMaxSwappedBytes = 1 << 20;
constexpr double kMaxStallPercent = 1;

std::optional<double> At(const SampleRow& row, MetricId id) {
  const std::int64_t value = row[metrics::IndexOf(id)];
  if (value == metrics::kAbsent) return std::nullopt;
  return static_cast<double>(value) / static_cast<double>(metrics::AllMetrics()[metrics::IndexOf(id)].scale);
}

double Rise(const SampleRow& first, const SampleRow& last, MetricId id) {
  const auto from = At(first, id);
  const auto to = At(last, id);
  return from && to ? std::max(*to - *from, 0.0) : 0;
}

}  // namespace

QuietWatch::QuietWatch(const v1::ValiditySpec& spec, std::chrono::nanoseconds longest)
    : max_busy_percent_(kShareOfCpu * spec.max_background_cpu_percent()),
      max_memory_percent_(kShareOfMemory * spec.max_background_memory_percent()),
      window_(std::min(kWindow, longest / 2)) {}

void QuietWatch::Add(std::chrono::nanoseconds offset, const SampleRow& row) {
  entries_.push_back({offset, row});
  while (entries_.size() > 1 && entries_[1].offset <= offset - window_) entries_.pop_front();
}

std::string QuietWatch::Problem() const {
  if (entries_.empty() || entries_.back().offset - entries_.front().offset < window_) {
    return "it was not watched long enough";
  }
  const SampleRow& first = entries_.front().row;
  const SampleRow& last = entries_.back().row;
  const double busy = Rise(first, last, MetricId::kCpuBusyMsTotal);
  const double idle = Rise(first, last, MetricId::kCpuIdleMsTotal);
  if (const double percent = busy + idle > 0 ? 100 * busy / (busy + idle) : 0; percent > max_busy_percent_) {
    return fmt::format("the processors were busy for {:.0f} % of the time, and {:.0f} % is quiet", percent,
                       max_busy_percent_);
  }
  std::optional<double> least;
  std::optional<double> most;
  for (const Entry& entry : entries_) {
    const auto used = At(entry.row, MetricId::kMemUsedPercent);
    if (!used) continue;
    least = std::min(least.value_or(*used), *used);
    most = std::max(most.value_or(*used), *used);
  }
  if (least && *most - *least > max_memory_percent_) {
    return fmt::format("memory in use moved over {:.1f} % of the limit, and {:.1f} % is quiet", *most - *least,
                       max_memory_percent_);
  }
  static const auto page_bytes = static_cast<double>(::sysconf(_SC_PAGESIZE));
  const double swapped =
      page_bytes * (Rise(first, last, MetricId::kVmPswpinTotal) + Rise(first, last, MetricId::kVmPswpoutTotal));
  if (swapped >= kMaxSwappedBytes) return fmt::format("{:.0f} MiB were swapped", swapped / (1 << 20));
  if (const double stall = At(last, MetricId::kPsiMemorySomeAvg10).value_or(0); stall > kMaxStallPercent) {
    return fmt::format("tasks waited for memory in {:.1f} % of the last 10 s", stall);
  }
  return {};
}

}  // namespace ballast::agent
