#include "worker/telemetry/sampler.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "common/os/memory_gauge.h"
#include "common/os/procfs.h"
#include "common/os/zram.h"

namespace ballast::telemetry {
namespace {

using metrics::MetricId;
using metrics::SampleRow;

void Put(MetricId id, std::optional<std::uint64_t> value, SampleRow* row) {
  if (!value || *value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return;
  (*row)[metrics::IndexOf(id)] = static_cast<std::int64_t>(*value);
}

// On top of what is there.
void Add(MetricId id, std::optional<std::uint64_t> value, SampleRow* row) {
  const std::int64_t before = (*row)[metrics::IndexOf(id)];
  if (value && before != metrics::kAbsent) *value += static_cast<std::uint64_t>(before);
  Put(id, value, row);
}

// A value with decimals, stored in the metric's scale.
void PutScaled(MetricId id, double value, SampleRow* row) {
  const metrics::Metric& metric = metrics::AllMetrics()[metrics::IndexOf(id)];
  (*row)[metrics::IndexOf(id)] = std::llround(value * static_cast<double>(metric.scale));
}

// Where a field of a parsed file goes.
template <typename Parsed>
struct Route {
  MetricId id;
  std::optional<std::uint64_t> Parsed::*field;
};

template <typename Parsed, std::size_t N>
void PutAll(const std::array<Route<Parsed>, N>& routes, const Parsed& parsed, SampleRow* row) {
  for (const Route<Parsed>& route : routes) Put(route.id, parsed.*(route.field), row);
}

constexpr std::array kMemInfoRoutes = {
    Route<os::MemInfo>{MetricId::kMemTotalBytes, &os::MemInfo::total},
    Route<os::MemInfo>{MetricId::kMemFreeBytes, &os::MemInfo::free},
    Route<os::MemInfo>{MetricId::kMemAvailableBytes, &os::MemInfo::available},
    Route<os::MemInfo>{MetricId::kMemCachedBytes, &os::MemInfo::cached},
    Route<os::MemInfo>{MetricId::kMemBuffersBytes, &os::MemInfo::buffers},
    Route<os::MemInfo>{MetricId::kMemAnonBytes, &os::MemInfo::anon_pages},
    Route<os::MemInfo>{MetricId::kMemActiveFileBytes, &os::MemInfo::active_file},
    Route<os::MemInfo>{MetricId::kMemInactiveFileBytes, &os::MemInfo::inactive_file},
    Route<os::MemInfo>{MetricId::kMemShmemBytes, &os::MemInfo::shmem},
    Route<os::MemInfo>{MetricId::kMemSlabReclaimableBytes, &os::MemInfo::slab_reclaimable},
    Route<os::MemInfo>{MetricId::kMemDirtyBytes, &os::MemInfo::dirty},
    Route<os::MemInfo>{MetricId::kSwapTotalBytes, &os::MemInfo::swap_total},
    Route<os::MemInfo>{MetricId::kSwapFreeBytes, &os::MemInfo::swap_free},
};

constexpr std::array kVmStatRoutes = {
    Route<os::VmStat>{MetricId::kVmPgfaultTotal, &os::VmStat::faults},
    Route<os::VmStat>{MetricId::kVmPgmajfaultTotal, &os::VmStat::major_faults},
    Route<os::VmStat>{MetricId::kVmPswpinTotal, &os::VmStat::swap_in_pages},
    Route<os::VmStat>{MetricId::kVmPswpoutTotal, &os::VmStat::swap_out_pages},
    Route<os::VmStat>{MetricId::kVmWorkingsetRefaultAnonTotal, &os::VmStat::refault_anon_pages},
    Route<os::VmStat>{MetricId::kVmWorkingsetRefaultFileTotal, &os::VmStat::refault_file_pages},
    Route<os::VmStat>{MetricId::kVmPgscanDirectTotal, &os::VmStat::scan_direct_pages},
    Route<os::VmStat>{MetricId::kVmPgscanKswapdTotal, &os::VmStat::scan_kswapd_pages},
    Route<os::VmStat>{MetricId::kVmPgstealDirectTotal, &os::VmStat::steal_direct_pages},
    Route<os::VmStat>{MetricId::kVmPgstealKswapdTotal, &os::VmStat::steal_kswapd_pages},
    Route<os::VmStat>{MetricId::kVmOomKillTotal, &os::VmStat::oom_kills},
};

constexpr std::array kProcessStatusRoutes = {
    Route<os::ProcessStatus>{MetricId::kRunnerResidentBytes, &os::ProcessStatus::resident},
    Route<os::ProcessStatus>{MetricId::kRunnerAnonBytes, &os::ProcessStatus::resident_anon},
    Route<os::ProcessStatus>{MetricId::kRunnerFileBytes, &os::ProcessStatus::resident_file},
    Route<os::ProcessStatus>{MetricId::kRunnerShmemBytes, &os::ProcessStatus::resident_shmem},
    Route<os::ProcessStatus>{MetricId::kRunnerSwapBytes, &os::ProcessStatus::swapped},
};

constexpr std::array kLoadStatusRoutes = {
    Route<os::ProcessStatus>{MetricId::kLoadResidentBytes, &os::ProcessStatus::resident},
    Route<os::ProcessStatus>{MetricId::kLoadAnonBytes, &os::ProcessStatus::resident_anon},
    Route<os::ProcessStatus>{MetricId::kLoadFileBytes, &os::ProcessStatus::resident_file},
    Route<os::ProcessStatus>{MetricId::kLoadShmemBytes, &os::ProcessStatus::resident_shmem},
    Route<os::ProcessStatus>{MetricId::kLoadSwapBytes, &os::ProcessStatus::swapped},
};

// Read once in this time; each sample has the last value.
constexpr std::chrono::seconds kSlowInterval(1);
constexpr std::array kSlowMetrics = {MetricId::kLoadAvg1, MetricId::kPsiIoSomeAvg10, MetricId::kPsiCpuSomeAvg10,
                                     MetricId::kAgentRssBytes};

// Room for the first line of /proc/stat.
constexpr std::size_t kProcessorTimesBytes = 1024;

// The /proc files of one watched process.
struct ProcessFiles {
  os::FileReader stat;
  os::FileReader status;
  os::FileReader io;
};

// The files of the memory cgroup.
struct CgroupFiles {
  int version = 0;
  os::FileReader usage;
  os::FileReader oom_events;
  os::FileReader limit_hits;       // version 1: failcnt; version 2: memory.events. Of the innermost cgroup with a limit
  os::FileReader swap_limit_hits;  // version 1: memsw.failcnt, which counts instead where both limits are equal
};

// The same of the cgroup of the processes that load a model. Version 1 tells what is swapped out in memory.stat.
struct LoadCgroupFiles {
  int version = 0;
  os::FileReader stat;
  os::FileReader swap;
};

class ProcSampler final : public Sampler {
 public:
  ProcSampler(std::string proc, std::unique_ptr<os::MemoryGauge> gauge, os::FileReader meminfo, os::ZramReader zram,
              CgroupFiles cgroup)
      : proc_(std::move(proc)),
        gauge_(std::move(gauge)),
        meminfo_(std::move(meminfo)),
        vmstat_(os::FileReader::OpenOptional(proc_ + "/vmstat")),
        pressure_memory_(os::FileReader::OpenOptional(proc_ + "/pressure/memory")),
        pressure_io_(os::FileReader::OpenOptional(proc_ + "/pressure/io")),
        pressure_cpu_(os::FileReader::OpenOptional(proc_ + "/pressure/cpu")),
        load_average_(os::FileReader::OpenOptional(proc_ + "/loadavg")),
        stat_(os::FileReader::OpenOptional(proc_ + "/stat")),
        self_statm_(os::FileReader::OpenOptional(proc_ + "/self/statm")),
        zram_(std::move(zram)),
        cgroup_(std::move(cgroup)),
        page_bytes_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
        ticks_per_second_(static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK))) {}

  void WatchProcess(pid_t pid) override { process_ = Open(pid); }
  void ForgetProcess() override { process_ = ProcessFiles(); }
  void WatchLoad(const std::vector<pid_t>& processes) override {
    load_.clear();
    for (const pid_t pid : processes) load_.push_back(Open(pid));
  }

  void WatchLoadCgroup(const os::CgroupLocation* cgroup) override {
    load_cgroup_ = LoadCgroupFiles();
    if (cgroup == nullptr || cgroup->memory_directories.empty()) return;
    const os::MemoryCgroupFiles& names = os::MemoryFilesOf(cgroup->memory_version);
    const std::string& directory = cgroup->memory_directories.front();
    load_cgroup_.version = cgroup->memory_version;
    load_cgroup_.stat = os::FileReader::OpenOptional(fmt::format("{}/{}", directory, names.stat));
    if (!names.swap_includes_memory) {
      load_cgroup_.swap = os::FileReader::OpenOptional(fmt::format("{}/{}", directory, names.swap_usage));
    }
  }

  void CountFilePages(std::uint64_t held_bytes) override { held_file_bytes_ = held_bytes; }

  void Sample(SampleRow* row) override {
    row->fill(metrics::kAbsent);
    const std::chrono::nanoseconds now = base::RealClock().Monotonic();
    if (!slow_read_ || now - *slow_read_ >= kSlowInterval) {
      slow_read_ = now;
      slow_row_.fill(metrics::kAbsent);
      SampleSlow(&slow_row_);
    }
    for (const MetricId id : kSlowMetrics) (*row)[metrics::IndexOf(id)] = slow_row_[metrics::IndexOf(id)];
    SampleMachine(row);
    SamplePressure(row);
    SampleProcess(row);
    SampleLimit(row);
    for (ProcessFiles& process : load_) SampleLoad(&process, row);
    SampleLoadCgroup(row);
    SampleCgroup(row);
  }

 private:
  [[nodiscard]] ProcessFiles Open(pid_t pid) const {
    const std::string directory = fmt::format("{}/{}", proc_, pid);
    ProcessFiles files;
    files.stat = os::FileReader::OpenOptional(directory + "/stat");
    files.status = os::FileReader::OpenOptional(directory + "/status");
    files.io = os::FileReader::OpenOptional(directory + "/io");
    return files;
  }

  void SampleLimit(SampleRow* row) {
    const absl::StatusOr<os::MemoryReading> reading = gauge_->Read();
    if (!reading.ok()) return;
    Put(MetricId::kMemLimitBytes, reading->limit_bytes, row);
    Put(MetricId::kMemLimitAvailableBytes, reading->available_bytes, row);
    const std::int64_t file_pages = (*row)[metrics::IndexOf(MetricId::kRunnerFileBytes)];
    const std::uint64_t resident = file_pages == metrics::kAbsent ? 0 : static_cast<std::uint64_t>(file_pages);
    const os::MemoryReading counted = os::CountHeldFileBytes(*reading, std::min(held_file_bytes_, resident));
    PutScaled(MetricId::kMemUsedPercent, counted.used_percent(), row);
  }

  void SampleMachine(SampleRow* row) {
    if (const auto text = meminfo_.Read(buffer_)) PutAll(kMemInfoRoutes, os::ParseMemInfo(*text), row);
    if (const auto text = vmstat_.Read(buffer_)) PutAll(kVmStatRoutes, os::ParseVmStat(*text), row);
    // The first line is all that is of use; the lines of interrupts can be long.
    if (const auto text = stat_.Read(std::span(buffer_).first(kProcessorTimesBytes))) {
      const os::SystemStat times = os::ParseSystemStat(*text);
      if (times.user_ticks && times.idle_ticks) {
        const std::uint64_t busy = *times.user_ticks + times.system_ticks.value_or(0) + times.irq_ticks.value_or(0) +
                                   times.steal_ticks.value_or(0);
        Put(MetricId::kCpuBusyMsTotal, busy * 1000 / ticks_per_second_, row);
        Put(MetricId::kCpuIdleMsTotal, (*times.idle_ticks + times.iowait_ticks.value_or(0)) * 1000 / ticks_per_second_,
            row);
      }
    }
    if (const auto zram = zram_.Read(buffer_)) {
      Put(MetricId::kZramDataBytes, zram->data_bytes, row);
      Put(MetricId::kZramCompressedBytes, zram->compressed_bytes, row);
    }
  }

  void SamplePressure(SampleRow* row) {
    if (const auto text = pressure_memory_.Read(buffer_)) {
      const os::Pressure memory = os::ParsePressure(*text);
      if (memory.some) {
        PutScaled(MetricId::kPsiMemorySomeAvg10, memory.some->avg10_percent, row);
        Put(MetricId::kPsiMemorySomeUsTotal, memory.some->total_us, row);
      }
      if (memory.full) {
        PutScaled(MetricId::kPsiMemoryFullAvg10, memory.full->avg10_percent, row);
        Put(MetricId::kPsiMemoryFullUsTotal, memory.full->total_us, row);
      }
    }
  }

  // What the kernel itself brings up to date every other second only, and what the agent has of its own.
  void SampleSlow(SampleRow* row) {
    if (const auto text = load_average_.Read(buffer_)) {
      if (const auto load = os::ParseLoadAverage(*text)) PutScaled(MetricId::kLoadAvg1, load->one_minute, row);
    }
    if (const auto text = pressure_io_.Read(buffer_)) {
      if (const auto io = os::ParsePressure(*text); io.some) {
        PutScaled(MetricId::kPsiIoSomeAvg10, io.some->avg10_percent, row);
      }
    }
    if (const auto text = pressure_cpu_.Read(buffer_)) {
      if (const auto cpu = os::ParsePressure(*text); cpu.some) {
        PutScaled(MetricId::kPsiCpuSomeAvg10, cpu.some->avg10_percent, row);
      }
    }
    if (const auto text = self_statm_.Read(buffer_)) {
      if (const auto statm = os::ParseProcessStatm(*text)) {
        Put(MetricId::kAgentRssBytes, statm->resident_pages * page_bytes_, row);
      }
    }
  }

  void SampleProcess(SampleRow* row) {
    if (const auto text = process_.stat.Read(buffer_)) {
      if (const auto stat = os::ParseProcessStat(*text)) {
        Put(MetricId::kRunnerMinorFaultsTotal, stat->minor_faults, row);
        Put(MetricId::kRunnerMajorFaultsTotal, stat->major_faults, row);
        Put(MetricId::kRunnerThreadsCount, stat->threads, row);
        Put(MetricId::kRunnerStateCode, static_cast<unsigned char>(stat->state), row);
        Put(MetricId::kRunnerCpuMsTotal, (stat->user_ticks + stat->system_ticks) * 1000 / ticks_per_second_, row);
      }
    }
    if (const auto text = process_.status.Read(buffer_)) {
      PutAll(kProcessStatusRoutes, os::ParseProcessStatus(*text), row);
    }
    if (const auto text = process_.io.Read(buffer_)) {
      Put(MetricId::kRunnerReadBytesTotal, os::ParseProcessIo(*text).read_bytes, row);
    }
  }

  void SampleLoad(ProcessFiles* process, SampleRow* row) {
    if (const auto text = process->stat.Read(buffer_)) {
      if (const auto stat = os::ParseProcessStat(*text)) {
        Add(MetricId::kLoadMinorFaultsTotal, stat->minor_faults, row);
        Add(MetricId::kLoadMajorFaultsTotal, stat->major_faults, row);
        Add(MetricId::kLoadCpuMsTotal, (stat->user_ticks + stat->system_ticks) * 1000 / ticks_per_second_, row);
      }
    }
    if (const auto text = process->status.Read(buffer_)) {
      const os::ProcessStatus status = os::ParseProcessStatus(*text);
      for (const Route<os::ProcessStatus>& route : kLoadStatusRoutes) Add(route.id, status.*(route.field), row);
    }
    if (const auto text = process->io.Read(buffer_)) {
      Add(MetricId::kLoadReadBytesTotal, os::ParseProcessIo(*text).read_bytes, row);
    }
  }

  void SampleLoadCgroup(SampleRow* row) {
    if (const auto text = load_cgroup_.stat.Read(buffer_)) {
      const bool second = load_cgroup_.version == 2;
      const auto anon = os::FindKeyedNumber(*text, second ? "anon" : "total_rss");
      const auto shmem = os::FindKeyedNumber(*text, second ? "shmem" : "total_shmem");
      // With one of them missing (older kernels do not tell of shared memory in version 1) the sum would be too little.
      if (anon && shmem) Put(MetricId::kLoadCgroupMemoryBytes, *anon + *shmem, row);
      if (!second) Put(MetricId::kLoadCgroupSwapBytes, os::FindKeyedNumber(*text, "total_swap"), row);
    }
    if (const auto text = load_cgroup_.swap.Read(buffer_)) {
      Put(MetricId::kLoadCgroupSwapBytes, os::ParseNumber(*text), row);
    }
  }

  void SampleCgroup(SampleRow* row) {
    if (const auto text = cgroup_.usage.Read(buffer_)) {
      Put(MetricId::kCgroupUsageBytes, os::ParseNumber(*text), row);
    }
    if (const auto text = cgroup_.oom_events.Read(buffer_)) {
      Put(MetricId::kCgroupOomKillTotal, os::FindKeyedNumber(*text, "oom_kill"), row);
    }
    if (const auto text = cgroup_.limit_hits.Read(buffer_)) {
      std::optional<std::uint64_t> hits =
          cgroup_.version == 2 ? os::FindKeyedNumber(*text, "max") : os::ParseNumber(*text);
      if (const auto swap_text = cgroup_.swap_limit_hits.Read(buffer_); swap_text && hits) {
        *hits += os::ParseNumber(*swap_text).value_or(0);
      }
      Put(MetricId::kCgroupLimitHitsTotal, hits, row);
    }
  }

  std::string proc_;
  std::unique_ptr<os::MemoryGauge> gauge_;
  os::FileReader meminfo_;
  os::FileReader vmstat_;
  os::FileReader pressure_memory_;
  os::FileReader pressure_io_;
  os::FileReader pressure_cpu_;
  os::FileReader load_average_;
  os::FileReader stat_;
  os::FileReader self_statm_;
  os::ZramReader zram_;
  CgroupFiles cgroup_;
  ProcessFiles process_;
  std::vector<ProcessFiles> load_;
  std::optional<std::chrono::nanoseconds> slow_read_;
  SampleRow slow_row_ = metrics::EmptyRow();
  LoadCgroupFiles load_cgroup_;
  std::uint64_t held_file_bytes_ = 0;
  std::uint64_t page_bytes_;
  std::uint64_t ticks_per_second_;
  std::array<char, os::kReadBufferBytes> buffer_;
};

// The innermost cgroup that has a limit; the runner's own where none has.
const std::string& LimitedDirectory(const os::CgroupLocation& location) {
  for (const std::string& directory : location.memory_directories) {
    const absl::StatusOr<std::string> limit =
        base::ReadFile(fmt::format("{}/{}", directory, os::MemoryFilesOf(location.memory_version).limit));
    if (limit.ok() && os::ParseMemoryLimit(*limit)) return directory;
  }
  return location.memory_directories.front();
}

CgroupFiles OpenCgroupFiles(const os::CgroupLocation& location) {
  CgroupFiles files;
  if (location.memory_directories.empty()) return files;
  const std::string& directory = location.memory_directories.front();
  const std::string& limited = LimitedDirectory(location);
  const os::MemoryCgroupFiles& names = os::MemoryFilesOf(location.memory_version);
  files.version = location.memory_version;
  files.usage = os::FileReader::OpenOptional(fmt::format("{}/{}", directory, names.usage));
  files.oom_events = os::FileReader::OpenOptional(fmt::format("{}/{}", directory, names.oom_events));
  if (files.version == 1) {
    files.limit_hits = os::FileReader::OpenOptional(limited + "/memory.failcnt");
    files.swap_limit_hits = os::FileReader::OpenOptional(limited + "/memory.memsw.failcnt");
  } else {
    files.limit_hits = os::FileReader::OpenOptional(fmt::format("{}/{}", limited, names.oom_events));
  }
  return files;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Sampler>> Sampler::Open(const std::string& root) {
  const absl::StatusOr<os::CgroupLocation> located = os::LocateCgroups(root);
  return Open(root, located.ok() ? *located : os::CgroupLocation());
}

absl::StatusOr<std::unique_ptr<Sampler>> Sampler::Open(const std::string& root, const os::CgroupLocation& runner) {
  const std::string proc = root.ends_with('/') ? root + "proc" : root + "/proc";
  BALLAST_ASSIGN_OR_RETURN(os::FileReader meminfo, os::FileReader::Open(proc + "/meminfo"));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<os::MemoryGauge> gauge, os::MemoryGauge::Open(root, runner));
  return std::make_unique<ProcSampler>(proc, std::move(gauge), std::move(meminfo), os::ZramReader(root),
                                       OpenCgroupFiles(runner));
}

}  // namespace ballast::telemetry
