// The one declaration of every metric. The sampler, chunks, reports and documents all read this table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace ballast::metrics {

enum class Kind : std::uint8_t {
  kGauge,    // a level: goes up and down
  kCounter,  // only rises (within one boot or one process)
};

// One metric. Samples hold it as an integer; `stored / scale` is the value in the unit that the name's suffix says.
struct Metric {
  std::uint32_t id;       // 1 … kMetricCount, in the order of the table; never given to another metric, never reused
  std::string_view name;  // Prometheus style, with unit suffix: `mem_available_bytes`
  Kind kind;
  std::int64_t scale;       // stored units a unit: 1, or 100 for two decimals, …
  std::string_view source;  // where it is read: `/proc/meminfo MemAvailable`
  std::string_view help;    // one sentence
};

inline constexpr std::size_t kMetricCount = 67;  // as many as metric_table.cc declares; checked there

// A sample has this value for a metric that the device does not have, or that could not be read.
inline constexpr std::int64_t kAbsent = std::numeric_limits<std::int64_t>::min();

// The values of every metric at one instant, as stored; entry i belongs to the metric with id i + 1.
using SampleRow = std::array<std::int64_t, kMetricCount>;

// A row in which every value is absent.
[[nodiscard]] SampleRow EmptyRow();

// The whole table, ordered by id.
[[nodiscard]] std::span<const Metric> AllMetrics();

// The metric with this id or name; null where there is none.
[[nodiscard]] const Metric* FindMetric(std::uint32_t id);
[[nodiscard]] const Metric* FindMetric(std::string_view name);

// Identifiers, for code that fills in or reads particular metrics: `row[IndexOf(MetricId::kMemTotalBytes)]`. In the
// order of the table: a new metric goes to the end of both, and one that is no longer sampled keeps its place.
enum class MetricId : std::uint32_t {
  kMemUsedPercent = 1,
  kMemLimitBytes,
  kMemLimitAvailableBytes,
  kMemTotalBytes,
  kMemFreeBytes,
  kMemAvailableBytes,
  kMemCachedBytes,
  kMemBuffersBytes,
  kMemAnonBytes,
  kMemActiveFileBytes,
  kMemInactiveFileBytes,
  kMemShmemBytes,
  kMemSlabReclaimableBytes,
  kMemDirtyBytes,
  kSwapTotalBytes,
  kSwapFreeBytes,
  kVmPgfaultTotal,
  kVmPgmajfaultTotal,
  kVmPswpinTotal,
  kVmPswpoutTotal,
  kVmWorkingsetRefaultAnonTotal,
  kVmWorkingsetRefaultFileTotal,
  kVmPgscanDirectTotal,
  kVmPgscanKswapdTotal,
  kVmPgstealDirectTotal,
  kVmPgstealKswapdTotal,
  kVmOomKillTotal,
  kPsiMemorySomeAvg10,
  kPsiMemoryFullAvg10,
  kPsiMemorySomeUsTotal,
  kPsiMemoryFullUsTotal,
  kPsiIoSomeAvg10,
  kPsiCpuSomeAvg10,
  kLoadAvg1,
  kRunnerResidentBytes,
  kRunnerAnonBytes,
  kRunnerFileBytes,
  kRunnerShmemBytes,
  kRunnerSwapBytes,
  kRunnerMinorFaultsTotal,
  kRunnerMajorFaultsTotal,
  kRunnerCpuMsTotal,
  kRunnerReadBytesTotal,
  kRunnerThreadsCount,
  kRunnerStateCode,
  kRunnerHeldBytes,
  kRunnerTargetPercent,
  kCgroupUsageBytes,
  kCgroupOomKillTotal,
  kCgroupLimitHitsTotal,
  kAgentRssBytes,
  kSampleDelayUs,
  kCpuBusyMsTotal,
  kCpuIdleMsTotal,
  kZramDataBytes,
  kZramCompressedBytes,
  kLoadResidentBytes,
  kLoadAnonBytes,
  kLoadFileBytes,
  kLoadShmemBytes,
  kLoadSwapBytes,
  kLoadMinorFaultsTotal,
  kLoadMajorFaultsTotal,
  kLoadCpuMsTotal,
  kLoadReadBytesTotal,
  kLoadCgroupMemoryBytes,
  kLoadCgroupSwapBytes,
};

// Where the metric's value stands in a SampleRow.
[[nodiscard]] constexpr std::size_t IndexOf(MetricId id) {
  return static_cast<std::size_t>(id) - 1;
}

}  // namespace ballast::metrics
