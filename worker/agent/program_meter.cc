#include "worker/agent/program_meter.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/os/line_scanner.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

// Looking through all processes for those of a group is dear where there are thousands.
constexpr std::chrono::seconds kLookAround(1);
constexpr std::uint64_t kBlockBytes = 512;  // in which the kernel counts what a process reads and writes
constexpr std::size_t kMostProcesses = 64;
// What a cgroup counts of the runner beside its resident memory.
constexpr std::uint64_t kRunnerSlackBytes = 16U << 20U;
constexpr std::uint64_t kUsPerSecond = 1'000'000;

std::uint64_t Less(std::uint64_t value, std::uint64_t part) {
  return value - std::min(value, part);
}

std::uint64_t Count(long value) {
  return value > 0 ? static_cast<std::uint64_t>(value) : 0;
}

std::uint64_t Us(const google::protobuf::Duration& duration) {
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(std::chrono::floor<std::chrono::microseconds>(base::FromProto(duration)).count(), 0));
}

std::uint64_t Us(const timeval& time) {
  return Count(time.tv_sec) * kUsPerSecond + Count(time.tv_usec);
}

google::protobuf::Duration ToDuration(std::uint64_t us) {
  return base::ToProto(std::chrono::microseconds(us));
}

std::uint64_t PageBytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

IoStat ParseIoStat(std::string_view content) {
  IoStat sum;
  std::string_view word;
  while (os::NextWord(&content, &word)) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::uint64_t value = os::ToNumber<std::uint64_t>(word.substr(equals + 1)).value_or(0);
    if (word.substr(0, equals) == "rbytes") sum.read_bytes += value;
    if (word.substr(0, equals) == "wbytes") sum.write_bytes += value;
  }
  return sum;
}

ProgramMeter::ProgramMeter(const Place& place)
    : proc_(place.root + (place.root.ends_with('/') ? "proc" : "/proc")),
      pid_(place.pid),
      in_group_(place.own_group != nullptr && !place.own_group->memory_directories.empty()),
      buffer_(os::kReadBufferBytes) {
  own_status_ = os::FileReader::OpenOptional(fmt::format("{}/{}/status", proc_, pid_));
  own_io_ = os::FileReader::OpenOptional(fmt::format("{}/{}/io", proc_, pid_));
  if (!in_group_) return;
  version_ = place.own_group->memory_version;
  directory_ = place.own_group->memory_directories.front();
  const os::MemoryCgroupFiles& names = os::MemoryFilesOf(version_);
  const auto open = [this](std::string_view name) {
    return os::FileReader::OpenOptional(fmt::format("{}/{}", directory_, name));
  };
  usage_ = open(names.usage);
  stat_ = open(names.stat);
  processes_ = open("cgroup.procs");
  peak_ = open(version_ == 2 ? "memory.peak" : "memory.max_usage_in_bytes");
  if (version_ != 2) return;
  swap_ = open(names.swap_usage);
  cpu_ = open("cpu.stat");
  io_ = open("io.stat");
  pressure_ = open("memory.pressure");
}

void ProgramMeter::Begin(const v1::ProgramBegin& taken) {
  begun_ = true;
  before_ = {.minor_faults = taken.minor_faults(),
             .major_faults = taken.major_faults(),
             .read_bytes = taken.disk_read_bytes(),
             .write_bytes = taken.disk_write_bytes(),
             .user_us = Us(taken.user_cpu_time()),
             .system_us = Us(taken.system_cpu_time())};
  runner_resident_bytes_ = taken.peak_resident_bytes();
  if (version_ != 1) return;
  // A program that was quick has its peak behind it by now: more than the runner ever had is the program's.
  if (const auto text = peak_.Read(buffer_)) {
    const std::uint64_t peak = os::ParseNumber(*text).value_or(0);
    if (peak > runner_resident_bytes_ + kRunnerSlackBytes) peak_memory_bytes_ = peak;
  }
  // Version 1 takes back what the peak was.
  const absl::StatusOr<base::Fd> peak = base::OpenFile(directory_ + "/memory.max_usage_in_bytes", O_WRONLY);
  if (peak.ok()) (void)base::WriteAll(peak->get(), "0");
}

void ProgramMeter::Sample(std::chrono::nanoseconds now) {
  if (!begun_) return;
  SampleOwnProcess();
  if (in_group_) {
    SampleGroup();
  } else {
    SampleMembers(now);
  }
}

void ProgramMeter::SampleOwnProcess() {
  if (const auto text = own_status_.Read(buffer_)) {
    // Counts from the exec on: the memory before that was another.
    peak_resident_bytes_ = std::max(peak_resident_bytes_, os::ParseProcessStatus(*text).resident_peak.value_or(0));
  }
  if (const auto text = own_io_.Read(buffer_)) {
    const os::ProcessIo io = os::ParseProcessIo(*text);
    Raise({.read_bytes = io.read_bytes.value_or(0), .write_bytes = io.write_bytes.value_or(0)});
  }
}

void ProgramMeter::SampleGroup() {
  std::uint64_t memory = 0;
  if (const auto text = usage_.Read(buffer_)) memory = os::ParseNumber(*text).value_or(0);
  if (const auto text = peak_.Read(buffer_)) memory = std::max(memory, os::ParseNumber(*text).value_or(0));
  peak_memory_bytes_ = std::max(peak_memory_bytes_, memory);
  if (const auto text = swap_.Read(buffer_)) {
    peak_swap_bytes_ = std::max(peak_swap_bytes_, os::ParseNumber(*text).value_or(0));
  }
  if (const auto text = stat_.Read(buffer_)) {
    const auto find = [&text](std::string_view key) { return os::FindKeyedNumber(*text, key); };
    const bool second = version_ == 2;
    peak_anon_bytes_ = std::max(peak_anon_bytes_, find(second ? "anon" : "total_rss").value_or(0));
    peak_file_bytes_ = std::max(peak_file_bytes_, find(second ? "file" : "total_cache").value_or(0));
    if (!second) peak_swap_bytes_ = std::max(peak_swap_bytes_, find("total_swap").value_or(0));
    Raise({.minor_faults = Less(find(second ? "pgfault" : "total_pgfault").value_or(0),
                                find(second ? "pgmajfault" : "total_pgmajfault").value_or(0)),
           .major_faults = find(second ? "pgmajfault" : "total_pgmajfault").value_or(0)});
    // Kernels before 5.9 count anonymous pages in.
    const auto refaults =
        find("workingset_refault_file").value_or(find("workingset_refault").value_or(0)) * PageBytes();
    refault_bytes_ = std::max(refault_bytes_, refaults);
  }
  if (const auto text = cpu_.Read(buffer_)) {
    Raise({.user_us = os::FindKeyedNumber(*text, "user_usec").value_or(0),
           .system_us = os::FindKeyedNumber(*text, "system_usec").value_or(0)});
  }
  if (const auto text = io_.Read(buffer_)) {
    const IoStat io = ParseIoStat(*text);
    Raise({.read_bytes = io.read_bytes, .write_bytes = io.write_bytes});
  }
  if (const auto text = pressure_.Read(buffer_)) {
    const os::Pressure pressure = os::ParsePressure(*text);
    if (pressure.some) stall_some_us_ = pressure.some->total_us;
    if (pressure.full) stall_full_us_ = pressure.full->total_us;
  }
}

std::vector<pid_t> ProgramMeter::Processes() {
  std::vector<pid_t> processes = {pid_};
  const auto add = [this, &processes](pid_t pid) {
    if (pid != pid_ && processes.size() < kMostProcesses) processes.push_back(pid);
  };
  if (!in_group_) {
    for (const auto& [pid, member] : members_) add(pid);
  } else if (const auto text = processes_.Read(buffer_)) {
    std::string_view rest = *text;
    std::string_view word;
    while (os::NextWord(&rest, &word)) {
      if (const auto pid = os::ToNumber<pid_t>(word)) add(*pid);
    }
  }
  return processes;
}

void ProgramMeter::SampleMembers(std::chrono::nanoseconds now) {
  if (!members_found_ || now - *members_found_ >= kLookAround) {
    members_found_ = now;
    FindMembers();
  }
  std::uint64_t resident = 0;
  std::uint64_t anon = 0;
  std::uint64_t file = 0;
  std::uint64_t swapped = 0;
  Counts sum = ended_members_;
  for (auto it = members_.begin(); it != members_.end();) {
    Member& member = it->second;
    bool lives = false;
    if (const auto text = member.stat.Read(buffer_)) {
      if (const auto stat = os::ParseProcessStat(*text)) {
        static const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
        lives = true;
        member.counts.minor_faults = stat->minor_faults;
        member.counts.major_faults = stat->major_faults;
        member.counts.user_us = stat->user_ticks * kUsPerSecond / ticks;
        member.counts.system_us = stat->system_ticks * kUsPerSecond / ticks;
      }
    }
    if (const auto text = member.io.Read(buffer_)) {
      const os::ProcessIo io = os::ParseProcessIo(*text);
      member.counts.read_bytes = io.read_bytes.value_or(0);
      member.counts.write_bytes = io.write_bytes.value_or(0);
    }
    if (const auto text = member.status.Read(buffer_)) {
      const os::ProcessStatus status = os::ParseProcessStatus(*text);
      resident += status.resident.value_or(0);
      anon += status.resident_anon.value_or(0);
      file += status.resident_file.value_or(0) + status.resident_shmem.value_or(0);
      swapped += status.swapped.value_or(0);
    }
    const auto add = [&member](Counts* counts) {
      counts->minor_faults += member.counts.minor_faults;
      counts->major_faults += member.counts.major_faults;
      counts->read_bytes += member.counts.read_bytes;
      counts->write_bytes += member.counts.write_bytes;
      counts->user_us += member.counts.user_us;
      counts->system_us += member.counts.system_us;
    };
    add(&sum);
    if (!lives) add(&ended_members_);
    it = lives ? std::next(it) : members_.erase(it);
  }
  Raise(sum);
  peak_memory_bytes_ = std::max(peak_memory_bytes_, resident);
  peak_anon_bytes_ = std::max(peak_anon_bytes_, anon);
  peak_file_bytes_ = std::max(peak_file_bytes_, file);
  peak_swap_bytes_ = std::max(peak_swap_bytes_, swapped);
}

void ProgramMeter::FindMembers() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(proc_, error)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc() || members_.contains(pid)) {
      continue;
    }
    os::FileReader stat_reader = os::FileReader::OpenOptional(entry.path().string() + "/stat");
    const auto text = stat_reader.Read(buffer_);
    const auto stat = text ? os::ParseProcessStat(*text) : std::nullopt;
    if (!stat || stat->process_group != pid_) continue;
    Member& member = members_[pid];
    member.stat = std::move(stat_reader);
    member.status = os::FileReader::OpenOptional(entry.path().string() + "/status");
    member.io = os::FileReader::OpenOptional(entry.path().string() + "/io");
  }
}

void ProgramMeter::Raise(const Counts& counts) {
  const auto raise = [this, &counts](std::uint64_t Counts::*part) {
    counts_.*part = std::max(counts_.*part, Less(counts.*part, before_.*part));
  };
  raise(&Counts::minor_faults);
  raise(&Counts::major_faults);
  raise(&Counts::read_bytes);
  raise(&Counts::write_bytes);
  raise(&Counts::user_us);
  raise(&Counts::system_us);
}

void ProgramMeter::Finish(const std::optional<rusage>& usage) {
  if (!begun_) return;
  if (in_group_) SampleGroup();
  if (usage) {
    Raise({.minor_faults = Count(usage->ru_minflt),
           .major_faults = Count(usage->ru_majflt),
           .read_bytes = Count(usage->ru_inblock) * kBlockBytes,
           .write_bytes = Count(usage->ru_oublock) * kBlockBytes,
           .user_us = Us(usage->ru_utime),
           .system_us = Us(usage->ru_stime)});
    // It has the runner's peak in it too: only what is above that is the program's.
    const std::uint64_t peak = Count(usage->ru_maxrss) * 1024;
    if (peak > runner_resident_bytes_) peak_resident_bytes_ = std::max(peak_resident_bytes_, peak);
  }
  peak_memory_bytes_ = std::max(peak_memory_bytes_, in_group_ ? 0 : peak_resident_bytes_);
}

void ProgramMeter::Fill(v1::CommandResult* result) const {
  result->set_scope(in_group_ ? v1::CommandResult::CGROUP : v1::CommandResult::PROCESS_GROUP);
  result->set_peak_memory_bytes(peak_memory_bytes_);
  result->set_peak_resident_bytes(peak_resident_bytes_);
  result->set_peak_anon_bytes(peak_anon_bytes_);
  result->set_peak_file_bytes(peak_file_bytes_);
  result->set_peak_swap_bytes(peak_swap_bytes_);
  result->set_minor_faults(counts_.minor_faults);
  result->set_major_faults(counts_.major_faults);
  result->set_disk_read_bytes(counts_.read_bytes);
  result->set_disk_write_bytes(counts_.write_bytes);
  result->set_refault_bytes(refault_bytes_);
  *result->mutable_user_cpu_time() = ToDuration(counts_.user_us);
  *result->mutable_system_cpu_time() = ToDuration(counts_.system_us);
  if (stall_some_us_) *result->mutable_stall_some_time() = ToDuration(*stall_some_us_);
  if (stall_full_us_) *result->mutable_stall_full_time() = ToDuration(*stall_full_us_);
}

}  // namespace ballast::agent
