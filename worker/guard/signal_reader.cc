#include "worker/guard/signal_reader.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/os/memory_stall.h"
#include "common/os/procfs.h"

namespace ballast::guard {
namespace {

constexpr std::chrono::milliseconds kPagesInterval(500);
constexpr double kPercentPerMicrosecond = 1e-4;  // 100 % are a million microseconds a second

}  // namespace

absl::StatusOr<std::unique_ptr<SignalReader>> SignalReader::Open(const std::string& root,
                                                                 const std::optional<os::CgroupLocation>& place) {
  std::unique_ptr<SignalReader> reader(new SignalReader());
  const absl::StatusOr<os::CgroupLocation> location = place ? *place : os::LocateCgroups(root);
  const os::CgroupLocation stands = location.ok() ? *location : os::CgroupLocation();
  BALLAST_ASSIGN_OR_RETURN(reader->gauge_, os::MemoryGauge::Open(root, stands));
  const std::string proc = root.ends_with('/') ? root + "proc" : root + "/proc";
  const auto open = [](std::string path, PressureSource* source) {
    source->reader = os::FileReader::OpenOptional(path);
    if (source->reader.valid()) source->path = std::move(path);
  };
  const os::MemoryStall::Paths stalls = os::MemoryStall::FindPaths(root);
  open(stalls.machine, &reader->machine_);
  if (stalls.limiting != stalls.machine) open(stalls.limiting, &reader->cgroup_);
  reader->machine_pages_.reader = os::FileReader::OpenOptional(proc + "/vmstat");
  reader->OpenCgroupPages(proc, stands);
  reader->page_bytes_ = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return reader;
}

void SignalReader::OpenCgroupPages(const std::string& proc, const os::CgroupLocation& location) {
  const std::optional<std::string_view> meminfo = os::FileReader::OpenOptional(proc + "/meminfo").Read(buffer_);
  const std::uint64_t machine_bytes = meminfo ? os::ParseMemInfo(*meminfo).total.value_or(0) : 0;
  const std::string directory = os::FindLimitingDirectory(location, machine_bytes);
  if (directory.empty()) return;
  const os::MemoryCgroupFiles& files = os::MemoryFilesOf(location.memory_version);
  cgroup_pages_.reader = os::FileReader::OpenOptional(fmt::format("{}/{}", directory, files.stat));
  cgroup_files_ = &files;
  // A kernel that does not count them for cgroups.
  if (const std::optional<PageCounts> counts = ReadCgroupPages(); !counts || !counts->refaulted) {
    cgroup_pages_.reader = os::FileReader();
  }
}

Readings SignalReader::Read(std::chrono::nanoseconds now, double closely_percent) {
  Readings readings;
  readings.time = now;
  if (const absl::StatusOr<os::MemoryReading> memory = gauge_->Read(); memory.ok()) {
    // Pages of files that are in use count as available here, in a cgroup as on the machine: the kernel drops them before
    // it kills. That they come back again and again is for the other signals.
    const std::uint64_t active_file_bytes = memory->file_bytes - memory->available_file_bytes;
    readings.available_bytes = memory->headroom_bytes < memory->available_bytes
                                   ? memory->headroom_bytes
                                   : std::min(memory->limit_bytes, memory->available_bytes + active_file_bytes);
    readings.limit_bytes = memory->limit_bytes;
    readings.free_swap_bytes = memory->swap_headroom_bytes;
  }
  const std::optional<Stall> machine = ReadPressure(&machine_, &readings);
  const std::optional<Stall> cgroup = ReadPressure(&cgroup_, &readings);
  for (const std::optional<Stall>& stall : {machine, cgroup}) {
    if (!stall) continue;
    readings.psi_full_percent = std::max(readings.psi_full_percent.value_or(0), stall->full_percent);
    readings.psi_some_percent = std::max(readings.psi_some_percent.value_or(0), stall->some_percent);
  }
  if (readings.has_psi && readings.psi_full_percent.value_or(0) < closely_percent && now < next_pages_) return readings;
  next_pages_ = now + kPagesInterval;
  // Both each time, whichever count: a rate needs the counts of a second ago.
  PageRates rates;
  if (const std::optional<PageCounts> counts = ReadMachinePages()) rates = RatesOf(*counts, now, &machine_pages_);
  if (const std::optional<PageCounts> counts = ReadCgroupPages()) {
    const PageRates of_cgroup = RatesOf(*counts, now, &cgroup_pages_);
    const bool machine_stalls_more = machine && cgroup && machine->full_percent > cgroup->full_percent;
    if (!machine_stalls_more) rates = of_cgroup;
  }
  readings.swap_in_bytes_per_second = rates.swap_in_bytes_per_second;
  readings.refault_bytes_per_second = rates.refault_bytes_per_second;
  return readings;
}

std::optional<SignalReader::Stall> SignalReader::ReadPressure(PressureSource* source, Readings* readings) {
  const std::optional<std::string_view> text = source->reader.Read(buffer_);
  if (!text) return std::nullopt;
  const os::Pressure pressure = os::ParsePressure(*text);
  if (!pressure.full || !pressure.some) return std::nullopt;
  const std::optional<double> full = source->full.Add(readings->time, pressure.full->total_us);
  const std::optional<double> some = source->some.Add(readings->time, pressure.some->total_us);
  readings->has_psi = true;
  if (!full || !some) return std::nullopt;
  return Stall{.full_percent = *full * kPercentPerMicrosecond, .some_percent = *some * kPercentPerMicrosecond};
}

std::optional<SignalReader::PageCounts> SignalReader::ReadMachinePages() {
  const std::optional<std::string_view> text = machine_pages_.reader.Read(buffer_);
  if (!text) return std::nullopt;
  const os::VmStat counts = os::ParseVmStat(*text);
  PageCounts pages{.swapped_in = counts.swap_in_pages, .refaulted = counts.refault_file_pages};
  if (pages.refaulted) *pages.refaulted += counts.refault_anon_pages.value_or(0);
  return pages;
}

std::optional<SignalReader::PageCounts> SignalReader::ReadCgroupPages() {
  const std::optional<std::string_view> text = cgroup_pages_.reader.Read(buffer_);
  if (!text) return std::nullopt;
  const std::optional<std::uint64_t> anon = os::FindKeyedNumber(*text, cgroup_files_->refault_anon);
  const std::optional<std::uint64_t> file = os::FindKeyedNumber(*text, cgroup_files_->refault_file);
  PageCounts pages;
  pages.refaulted = file ? *file + anon.value_or(0) : os::FindKeyedNumber(*text, cgroup_files_->refault);
  // Where swapping in is not counted: each page that comes back from swap is an anonymous page that comes back.
  pages.swapped_in = os::FindKeyedNumber(*text, cgroup_files_->swap_in);
  if (!pages.swapped_in) pages.swapped_in = anon;
  return pages;
}

SignalReader::PageRates SignalReader::RatesOf(const PageCounts& counts, std::chrono::nanoseconds time,
                                              PageSource* source) const {
  const auto bytes = [&](std::optional<std::uint64_t> pages, RateWindow* window) {
    const std::optional<double> rate = pages ? window->Add(time, *pages) : std::nullopt;
    return rate ? std::optional<double>(*rate * page_bytes_) : std::nullopt;
  };
  return {.swap_in_bytes_per_second = bytes(counts.swapped_in, &source->swapped_in),
          .refault_bytes_per_second = bytes(counts.refaulted, &source->refaulted)};
}

}  // namespace ballast::guard
