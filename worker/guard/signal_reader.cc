#include "worker/guard/signal_reader.h"

#include <unistd.h>

#include <algorithm>

#include "common/base/status.h"
#include "common/os/memory_stall.h"
#include "common/os/procfs.h"

namespace ballast::guard {
namespace {

constexpr std::chrono::milliseconds kVmstatInterval(500);
constexpr double kPercentPerMicrosecond = 1e-4;  // 100 % are a million microseconds a second

}  // namespace

absl::StatusOr<std::unique_ptr<SignalReader>> SignalReader::Open(const std::string& root,
                                                                 const std::optional<os::CgroupLocation>& place) {
  std::unique_ptr<SignalReader> reader(new SignalReader());
  absl::StatusOr<std::unique_ptr<os::MemoryGauge>> gauge =
      place ? os::MemoryGauge::Open(root, *place) : os::MemoryGauge::Open(root);
  if (!gauge.ok()) return gauge.status();
  reader->gauge_ = *std::move(gauge);
  const std::string proc = root.ends_with('/') ? root + "proc" : root + "/proc";
  const auto open = [](std::string path, PressureSource* source) {
    source->reader = os::FileReader::OpenOptional(path);
    if (source->reader.valid()) source->path = std::move(path);
  };
  const os::MemoryStall::Paths stalls = os::MemoryStall::FindPaths(root);
  open(stalls.machine, &reader->machine_);
  if (stalls.limiting != stalls.machine) open(stalls.limiting, &reader->cgroup_);
  reader->vmstat_ = os::FileReader::OpenOptional(proc + "/vmstat");
  reader->page_bytes_ = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return reader;
}

Readings SignalReader::Read(std::chrono::nanoseconds now, double closely_percent) {
  Readings readings;
  readings.time = now;
  if (const absl::StatusOr<os::MemoryReading> memory = gauge_->Read(); memory.ok()) {
    readings.available_bytes = std::min(memory->available_bytes, memory->headroom_bytes);
    readings.limit_bytes = memory->limit_bytes;
    readings.free_swap_bytes = memory->swap_headroom_bytes;
  }
  ReadPressure(&machine_, &readings);
  ReadPressure(&cgroup_, &readings);
  if (!readings.has_psi || readings.psi_full_percent.value_or(0) >= closely_percent || now >= next_vmstat_) {
    next_vmstat_ = now + kVmstatInterval;
    ReadRates(&readings);
  }
  return readings;
}

void SignalReader::ReadPressure(PressureSource* source, Readings* readings) {
  const std::optional<std::string_view> text = source->reader.Read(buffer_);
  if (!text) return;
  const os::Pressure pressure = os::ParsePressure(*text);
  if (!pressure.full || !pressure.some) return;
  const std::optional<double> full = source->full.Add(readings->time, pressure.full->total_us);
  const std::optional<double> some = source->some.Add(readings->time, pressure.some->total_us);
  readings->has_psi = true;
  if (!full || !some) return;
  readings->psi_full_percent = std::max(readings->psi_full_percent.value_or(0), *full * kPercentPerMicrosecond);
  readings->psi_some_percent = std::max(readings->psi_some_percent.value_or(0), *some * kPercentPerMicrosecond);
}

void SignalReader::ReadRates(Readings* readings) {
  const std::optional<std::string_view> text = vmstat_.Read(buffer_);
  if (!text) return;
  const os::VmStat counts = os::ParseVmStat(*text);
  const auto bytes = [this](std::optional<double> pages) {
    return pages ? std::optional<double>(*pages * page_bytes_) : std::nullopt;
  };
  if (counts.swap_in_pages)
    readings->swap_in_bytes_per_second = bytes(swap_in_.Add(readings->time, *counts.swap_in_pages));
  if (counts.refault_file_pages) {
    const std::uint64_t pages = *counts.refault_file_pages + counts.refault_anon_pages.value_or(0);
    readings->refault_bytes_per_second = bytes(refault_.Add(readings->time, pages));
  }
}

}  // namespace ballast::guard
