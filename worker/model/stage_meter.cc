#include "worker/model/stage_meter.h"

#include <unistd.h>

#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/os/cgroup.h"
#include "common/os/line_scanner.h"
#include "common/os/procfs.h"

namespace ballast::model {
namespace {

constexpr std::string_view kRefaultAnon = "workingset_refault_anon";
constexpr std::string_view kRefaultFile = "workingset_refault_file";

// Both versions of memory cgroups have these lines in memory.stat; of version 1, kernels since 5.9.
bool HasRefaults(const std::string& path) {
  const absl::StatusOr<std::string> content = base::ReadFile(path);
  return content.ok() && os::FindKeyedNumber(*content, kRefaultFile).has_value();
}

std::string RefaultFile(const std::string& root) {
  const absl::StatusOr<os::CgroupLocation> location = os::LocateCgroups(root);
  // The root cgroup counts what is nobody's, or nothing.
  if (location.ok() && location->memory_version != 0 && location->memory_path != "/" &&
      !location->memory_directories.empty()) {
    std::string path = location->memory_directories.front() + "/memory.stat";
    if (HasRefaults(path)) return path;
  }
  return root + "proc/vmstat";
}

// `Pss:` of smaps_rollup.
std::uint64_t PssBytes(std::string_view content) {
  std::string_view line;
  while (os::NextLine(&content, &line)) {
    std::string_view word;
    if (os::NextWord(&line, &word) && word == "Pss:") return os::NextNumber<std::uint64_t>(&line).value_or(0) * 1024;
  }
  return 0;
}

}  // namespace

StageMeter::StageMeter(std::chrono::nanoseconds attempt_start, std::string root)
    : attempt_start_(attempt_start), root_(std::move(root)), refault_file_(RefaultFile(root_)) {}

void StageMeter::AddProcess(pid_t pid) {
  processes_.push_back(fmt::format("{}", pid));
}

std::chrono::nanoseconds StageMeter::Offset() const {
  return base::RealClock().Monotonic() - attempt_start_;
}

v1::LoadBegin StageMeter::CountsSoFar() const {
  const Counters counters = ReadCounters();
  v1::LoadBegin begin;
  begin.set_minor_faults(counters.minor_faults);
  begin.set_major_faults(counters.major_faults);
  begin.set_disk_read_bytes(counters.disk_read_bytes);
  for (const std::string& process : processes_) {
    const os::ProcessStatus status = os::ParseProcessStatus(ReadOf(process, "status"));
    begin.set_resident_bytes(begin.resident_bytes() + status.resident.value_or(0));
  }
  return begin;
}

void StageMeter::Begin() {
  at_begin_ = ReadCounters();
  begin_ = Offset();
}

v1::LoadStage StageMeter::End(v1::LoadStage::Kind kind) {
  const std::chrono::nanoseconds end = Offset();
  const Counters at_end = ReadCounters();
  v1::LoadStage stage;
  stage.set_kind(kind);
  *stage.mutable_start_offset() = base::ToProto(begin_);
  *stage.mutable_duration() = base::ToProto(end - begin_);
  stage.set_minor_faults(at_end.minor_faults - at_begin_.minor_faults);
  stage.set_major_faults(at_end.major_faults - at_begin_.major_faults);
  stage.set_disk_read_bytes(at_end.disk_read_bytes - at_begin_.disk_read_bytes);
  stage.set_refault_bytes(at_end.refault_bytes - at_begin_.refault_bytes);
  for (const std::string& process : processes_) AddFootprint(process, stage.mutable_footprint());
  return stage;
}

std::string StageMeter::ReadOf(const std::string& process, const char* file) const {
  // A process that is gone, or somebody else's, has nothing to add.
  return base::ReadFile(fmt::format("{}proc/{}/{}", root_, process, file)).value_or(std::string());
}

StageMeter::Counters StageMeter::ReadCounters() const {
  Counters sum;
  for (const std::string& process : processes_) {
    if (const std::optional<os::ProcessStat> stat = os::ParseProcessStat(ReadOf(process, "stat"))) {
      sum.minor_faults += stat->minor_faults;
      sum.major_faults += stat->major_faults;
    }
    sum.disk_read_bytes += os::ParseProcessIo(ReadOf(process, "io")).read_bytes.value_or(0);
  }
  const std::string refaults = base::ReadFile(refault_file_).value_or(std::string());
  const std::uint64_t pages =
      os::FindKeyedNumber(refaults, kRefaultAnon).value_or(0) + os::FindKeyedNumber(refaults, kRefaultFile).value_or(0);
  sum.refault_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return sum;
}

void StageMeter::AddFootprint(const std::string& process, v1::MemoryFootprint* footprint) const {
  const os::ProcessStatus status = os::ParseProcessStatus(ReadOf(process, "status"));
  footprint->set_resident_bytes(footprint->resident_bytes() + status.resident.value_or(0));
  footprint->set_anon_bytes(footprint->anon_bytes() + status.resident_anon.value_or(0));
  footprint->set_file_bytes(footprint->file_bytes() + status.resident_file.value_or(0));
  footprint->set_shmem_bytes(footprint->shmem_bytes() + status.resident_shmem.value_or(0));
  footprint->set_swap_bytes(footprint->swap_bytes() + status.swapped.value_or(0));
  footprint->set_locked_bytes(footprint->locked_bytes() + status.locked.value_or(0));
  footprint->set_pss_bytes(footprint->pss_bytes() + PssBytes(ReadOf(process, "smaps_rollup")));
}

}  // namespace ballast::model
