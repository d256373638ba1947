#include "common/metrics/metric_table.h"

#include <algorithm>

namespace ballast::metrics {
namespace {

constexpr Metric Gauge(MetricId id, std::string_view name, std::int64_t scale, std::string_view source,
                       std::string_view help) {
  return {static_cast<std::uint32_t>(id), name, Kind::kGauge, scale, source, help};
}

constexpr Metric Counter(MetricId id, std::string_view name, std::string_view source, std::string_view help) {
  return {static_cast<std::uint32_t>(id), name, Kind::kCounter, 1, source, help};
}

constexpr std::array kTable = {
    Gauge(MetricId::kMemUsedPercent, "mem_used_percent", 1000, "derived: (limit - available) / limit",
          "Memory in use by everyone under the limit that holds, in percent of that limit; file cache that the runner "
          "holds "
          "is in use."),
    Gauge(MetricId::kMemLimitBytes, "mem_limit_bytes", 1, "memory gauge: limit",
          "The memory limit that holds for the worker: MemTotal, or the tightest memory cgroup's limit."),
    Gauge(MetricId::kMemLimitAvailableBytes, "mem_limit_available_bytes", 1, "memory gauge: available",
          "What can still be allocated under that limit without swapping."),
    Gauge(MetricId::kMemTotalBytes, "mem_total_bytes", 1, "/proc/meminfo MemTotal",
          "Physical memory that the kernel manages."),
    Gauge(MetricId::kMemFreeBytes, "mem_free_bytes", 1, "/proc/meminfo MemFree", "Physical memory that nothing uses."),
    Gauge(MetricId::kMemAvailableBytes, "mem_available_bytes", 1, "/proc/meminfo MemAvailable",
          "The kernel's estimate of what can be allocated without swapping."),
    Gauge(MetricId::kMemCachedBytes, "mem_cached_bytes", 1, "/proc/meminfo Cached",
          "Page cache, shared memory included."),
    Gauge(MetricId::kMemBuffersBytes, "mem_buffers_bytes", 1, "/proc/meminfo Buffers", "Page cache of block devices."),
    Gauge(MetricId::kMemAnonBytes, "mem_anon_bytes", 1, "/proc/meminfo AnonPages",
          "Anonymous memory mapped into processes."),
    Gauge(MetricId::kMemActiveFileBytes, "mem_active_file_bytes", 1, "/proc/meminfo Active(file)",
          "Page cache on the active list, the last to be reclaimed."),
    Gauge(MetricId::kMemInactiveFileBytes, "mem_inactive_file_bytes", 1, "/proc/meminfo Inactive(file)",
          "Page cache on the inactive list, the first to be reclaimed."),
    Gauge(MetricId::kMemShmemBytes, "mem_shmem_bytes", 1, "/proc/meminfo Shmem", "Shared memory and tmpfs."),
    Gauge(MetricId::kMemSlabReclaimableBytes, "mem_slab_reclaimable_bytes", 1, "/proc/meminfo SReclaimable",
          "Kernel caches that can be reclaimed."),
    Gauge(MetricId::kMemDirtyBytes, "mem_dirty_bytes", 1, "/proc/meminfo Dirty",
          "Page cache that waits to be written to disk."),
    Gauge(MetricId::kSwapTotalBytes, "swap_total_bytes", 1, "/proc/meminfo SwapTotal", "Swap space, zram included."),
    Gauge(MetricId::kSwapFreeBytes, "swap_free_bytes", 1, "/proc/meminfo SwapFree", "Swap space that nothing uses."),
    Counter(MetricId::kVmPgfaultTotal, "vm_pgfault_total", "/proc/vmstat pgfault", "Page faults of the whole machine."),
    Counter(MetricId::kVmPgmajfaultTotal, "vm_pgmajfault_total", "/proc/vmstat pgmajfault",
            "Page faults of the whole machine that had to wait for a disk."),
    Counter(MetricId::kVmPswpinTotal, "vm_pswpin_total", "/proc/vmstat pswpin", "Pages read from swap."),
    Counter(MetricId::kVmPswpoutTotal, "vm_pswpout_total", "/proc/vmstat pswpout", "Pages written to swap."),
    Counter(MetricId::kVmWorkingsetRefaultAnonTotal, "vm_workingset_refault_anon_total",
            "/proc/vmstat workingset_refault_anon",
            "Anonymous pages that were needed again soon after they had been reclaimed."),
    Counter(MetricId::kVmWorkingsetRefaultFileTotal, "vm_workingset_refault_file_total",
            "/proc/vmstat workingset_refault_file",
            "Page cache pages that were needed again soon after they had been reclaimed."),
    Counter(MetricId::kVmPgscanDirectTotal, "vm_pgscan_direct_total", "/proc/vmstat pgscan_direct",
            "Pages looked at for reclaim by a process that wanted memory and had to wait."),
    Counter(MetricId::kVmPgscanKswapdTotal, "vm_pgscan_kswapd_total", "/proc/vmstat pgscan_kswapd",
            "Pages looked at for reclaim in the background."),
    Counter(MetricId::kVmPgstealDirectTotal, "vm_pgsteal_direct_total", "/proc/vmstat pgsteal_direct",
            "Pages reclaimed by a process that wanted memory and had to wait."),
    Counter(MetricId::kVmPgstealKswapdTotal, "vm_pgsteal_kswapd_total", "/proc/vmstat pgsteal_kswapd",
            "Pages reclaimed in the background."),
    Counter(MetricId::kVmOomKillTotal, "vm_oom_kill_total", "/proc/vmstat oom_kill",
            "Processes that the kernel's OOM killer ended, on the whole machine."),
    Gauge(MetricId::kPsiMemorySomeAvg10, "psi_memory_some_avg10", 100, "/proc/pressure/memory some avg10",
          "Share of the last 10 s in which some task stalled on memory, in percent."),
    Gauge(MetricId::kPsiMemoryFullAvg10, "psi_memory_full_avg10", 100, "/proc/pressure/memory full avg10",
          "Share of the last 10 s in which every task stalled on memory, in percent."),
    Counter(MetricId::kPsiMemorySomeUsTotal, "psi_memory_some_us_total", "/proc/pressure/memory some total",
            "Time in which some task stalled on memory, in microseconds."),
    Counter(MetricId::kPsiMemoryFullUsTotal, "psi_memory_full_us_total", "/proc/pressure/memory full total",
            "Time in which every task stalled on memory, in microseconds."),
    Gauge(MetricId::kPsiIoSomeAvg10, "psi_io_some_avg10", 100, "/proc/pressure/io some avg10",
          "Share of the last 10 s in which some task stalled on I/O, in percent."),
    Gauge(MetricId::kPsiCpuSomeAvg10, "psi_cpu_some_avg10", 100, "/proc/pressure/cpu some avg10",
          "Share of the last 10 s in which some task waited for a processor, in percent."),
    Gauge(MetricId::kLoadAvg1, "load_avg1", 100, "/proc/loadavg 1",
          "Mean number of tasks that ran or could not, over the last minute."),
    Gauge(MetricId::kRunnerResidentBytes, "runner_resident_bytes", 1, "/proc/PID/status VmRSS",
          "Resident memory of the runner."),
    Gauge(MetricId::kRunnerAnonBytes, "runner_anon_bytes", 1, "/proc/PID/status RssAnon",
          "Resident anonymous memory of the runner."),
    Gauge(MetricId::kRunnerFileBytes, "runner_file_bytes", 1, "/proc/PID/status RssFile",
          "Resident file mappings of the runner."),
    Gauge(MetricId::kRunnerShmemBytes, "runner_shmem_bytes", 1, "/proc/PID/status RssShmem",
          "Resident shared memory of the runner."),
    Gauge(MetricId::kRunnerSwapBytes, "runner_swap_bytes", 1, "/proc/PID/status VmSwap",
          "Anonymous memory of the runner that is swapped out."),
    Counter(MetricId::kRunnerMinorFaultsTotal, "runner_minor_faults_total", "/proc/PID/stat minflt",
            "Page faults of the runner that needed no disk."),
    Counter(MetricId::kRunnerMajorFaultsTotal, "runner_major_faults_total", "/proc/PID/stat majflt",
            "Page faults of the runner that had to wait for a disk."),
    Counter(MetricId::kRunnerCpuMsTotal, "runner_cpu_ms_total", "/proc/PID/stat utime+stime",
            "Processor time of the runner, user and system, in milliseconds."),
    Counter(MetricId::kRunnerReadBytesTotal, "runner_read_bytes_total", "/proc/PID/io read_bytes",
            "Bytes that the runner caused to be read from disks."),
    Gauge(MetricId::kRunnerThreadsCount, "runner_threads_count", 1, "/proc/PID/stat num_threads",
          "Threads of the runner."),
    Gauge(MetricId::kRunnerStateCode, "runner_state_code", 1, "/proc/PID/stat state",
          "State of the runner: the code of its letter (82 R running, 83 S sleeping, 68 D waiting uninterruptibly, 90 "
          "Z ended)."),
    Gauge(MetricId::kRunnerHeldBytes, "runner_held_bytes", 1, "runner: held bytes",
          "Memory that the runner holds, by its own count."),
    Gauge(MetricId::kRunnerTargetPercent, "runner_target_percent", 1000, "runner: target",
          "Memory in use that the runner steers for, in percent of the limit that holds."),
    Gauge(MetricId::kCgroupUsageBytes, "cgroup_usage_bytes", 1, "cgroup memory.current, memory.usage_in_bytes",
          "Memory charged to the memory cgroup in which the runner stands."),
    Counter(MetricId::kCgroupOomKillTotal, "cgroup_oom_kill_total",
            "cgroup memory.events oom_kill, memory.oom_control oom_kill",
            "Processes of that cgroup that the kernel's OOM killer ended."),
    Counter(MetricId::kCgroupLimitHitsTotal, "cgroup_limit_hits_total",
            "cgroup memory.events max, memory.failcnt + memory.memsw.failcnt",
            "How often the innermost cgroup with a limit, of that one and its ancestors, ran into it."),
    Gauge(MetricId::kAgentRssBytes, "agent_rss_bytes", 1, "/proc/self/statm resident",
          "Resident memory of the worker's agent."),
    Gauge(MetricId::kSampleDelayUs, "sample_delay_us", 1, "agent: lateness of the sample",
          "How much later than planned the sample was taken, in microseconds."),
    Counter(MetricId::kCpuBusyMsTotal, "cpu_busy_ms_total", "/proc/stat cpu",
            "Time in which processors worked, all of them together, stolen time included."),
    Counter(MetricId::kCpuIdleMsTotal, "cpu_idle_ms_total", "/proc/stat cpu",
            "Time in which processors had nothing to do, waiting for I/O included."),
    Gauge(MetricId::kZramDataBytes, "zram_data_bytes", 1, "/sys/block/zram*/mm_stat",
          "What zram devices hold, before compression."),
    Gauge(MetricId::kZramCompressedBytes, "zram_compressed_bytes", 1, "/sys/block/zram*/mm_stat",
          "What zram devices hold, compressed."),
    Gauge(MetricId::kLoadResidentBytes, "load_resident_bytes", 1, "/proc/PID/status VmRSS",
          "Resident memory of the processes that load a model, or of the program under test."),
    Gauge(MetricId::kLoadAnonBytes, "load_anon_bytes", 1, "/proc/PID/status RssAnon",
          "Resident anonymous memory of the processes that load a model, or of the program under test."),
    Gauge(MetricId::kLoadFileBytes, "load_file_bytes", 1, "/proc/PID/status RssFile",
          "Resident file mappings of the processes that load a model, or of the program under test."),
    Gauge(MetricId::kLoadShmemBytes, "load_shmem_bytes", 1, "/proc/PID/status RssShmem",
          "Resident shared memory of the processes that load a model, or of the program under test."),
    Gauge(MetricId::kLoadSwapBytes, "load_swap_bytes", 1, "/proc/PID/status VmSwap",
          "Anonymous memory of the processes that load a model, or of the program under test, that is swapped out."),
    Counter(MetricId::kLoadMinorFaultsTotal, "load_minor_faults_total", "/proc/PID/stat minflt",
            "Page faults of the processes that load a model, or of the program under test, that needed no disk."),
    Counter(
        MetricId::kLoadMajorFaultsTotal, "load_major_faults_total", "/proc/PID/stat majflt",
        "Page faults of the processes that load a model, or of the program under test, that had to wait for a disk."),
    Counter(MetricId::kLoadCpuMsTotal, "load_cpu_ms_total", "/proc/PID/stat utime+stime",
            "Processor time of the processes that load a model, or of the program under test, user and system, in "
            "milliseconds."),
    Counter(MetricId::kLoadReadBytesTotal, "load_read_bytes_total", "/proc/PID/io read_bytes",
            "Bytes that the processes that load a model, or the program under test, caused to be read from disks."),
    Gauge(MetricId::kLoadCgroupMemoryBytes, "load_cgroup_memory_bytes", 1,
          "cgroup memory.stat anon + shmem, total_rss + total_shmem",
          "Anonymous and shared memory, files in tmpfs included, charged to the cgroup of the processes that load a "
          "model, or of the program under test."),
    Gauge(MetricId::kLoadCgroupSwapBytes, "load_cgroup_swap_bytes", 1,
          "cgroup memory.swap.current, memory.stat total_swap", "Memory of that cgroup that is swapped out."),
};

static_assert(kTable.size() == kMetricCount, "kMetricCount in the header is not the number of metrics here");

constexpr bool IdsArePositions() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (kTable[i].id != i + 1) return false;
  }
  return true;
}
static_assert(IdsArePositions(), "the table and MetricId are in different orders");

// Lower-case words joined by underscores, ending in the unit; `_total` for counters and for nothing else.
constexpr bool IsGoodName(std::string_view name, Kind kind) {
  constexpr std::array<std::string_view, 7> kGaugeSuffixes = {"_bytes", "_percent", "_avg10", "_avg1",
                                                              "_us",    "_count",   "_code"};
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool is_letter = c >= 'a' && c <= 'z';
    const bool is_inner = (c >= '0' && c <= '9') || (c == '_' && name[i - 1] != '_');
    if (!is_letter && (i == 0 || !is_inner)) return false;
  }
  if (kind == Kind::kCounter) return name.ends_with("_total");
  return std::ranges::any_of(kGaugeSuffixes, [name](std::string_view suffix) { return name.ends_with(suffix); });
}

constexpr bool EntriesAreGood() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    const Metric& metric = kTable[i];
    if (!IsGoodName(metric.name, metric.kind) || metric.scale < 1 || metric.source.empty()) return false;
    if (!metric.help.ends_with('.')) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (kTable[j].name == metric.name) return false;
    }
  }
  return true;
}
static_assert(EntriesAreGood(), "a metric has a bad or doubled name, no unit, scale below 1, no source or no help");

}  // namespace

SampleRow EmptyRow() {
  SampleRow row;
  row.fill(kAbsent);
  return row;
}

std::span<const Metric> AllMetrics() {
  return kTable;
}

const Metric* FindMetric(std::uint32_t id) {
  return id >= 1 && id <= kTable.size() ? &kTable[id - 1] : nullptr;
}

const Metric* FindMetric(std::string_view name) {
  const auto* const found = std::ranges::find(kTable, name, &Metric::name);
  return found == kTable.end() ? nullptr : &*found;
}

}  // namespace ballast::metrics
