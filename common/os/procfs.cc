#include "common/os/procfs.h"

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "common/os/line_scanner.h"

namespace ballast::os {
namespace {

constexpr std::uint64_t kMaxU64 = std::numeric_limits<std::uint64_t>::max();

// Which field a key fills in. `prefix` keys are families whose members are added up.
template <typename Struct>
struct KeyedField {
  std::string_view key;
  std::optional<std::uint64_t> Struct::*field;
  bool prefix = false;
};

std::uint64_t AddSaturated(std::uint64_t a, std::uint64_t b) {
  return b > kMaxU64 - a ? kMaxU64 : a + b;
}

// A number with the unit that may follow it.
std::optional<std::uint64_t> NextAmount(std::string_view* text) {
  const std::optional<std::uint64_t> value = NextNumber<std::uint64_t>(text);
  std::string_view unit;
  if (!value || !NextWord(text, &unit)) return value;
  if (unit != "kB") return std::nullopt;
  if (*value > kMaxU64 / 1024) return std::nullopt;
  return *value * 1024;
}

// Lines of `key value` or `key: value`, with `kB` behind some.
template <typename Struct>
Struct ParseKeyedLines(std::string_view content, std::span<const KeyedField<Struct>> fields) {
  Struct result;
  std::string_view line;
  while (NextLine(&content, &line)) {
    std::string_view key;
    if (!NextWord(&line, &key)) continue;
    if (key.ends_with(':')) key.remove_suffix(1);
    for (const KeyedField<Struct>& field : fields) {
      if (field.prefix ? !key.starts_with(field.key) : key != field.key) continue;
      const std::optional<std::uint64_t> value = NextAmount(&line);
      std::optional<std::uint64_t>& target = result.*(field.field);
      if (value && field.prefix) {
        target = AddSaturated(target.value_or(0), *value);
      } else if (value) {
        target = value;
      }
      break;
    }
  }
  return result;
}

constexpr std::array kMemInfoFields = {
    KeyedField<MemInfo>{"MemTotal", &MemInfo::total},
    KeyedField<MemInfo>{"MemFree", &MemInfo::free},
    KeyedField<MemInfo>{"MemAvailable", &MemInfo::available},
    KeyedField<MemInfo>{"Buffers", &MemInfo::buffers},
    KeyedField<MemInfo>{"Cached", &MemInfo::cached},
    KeyedField<MemInfo>{"SwapCached", &MemInfo::swap_cached},
    KeyedField<MemInfo>{"Active(anon)", &MemInfo::active_anon},
    KeyedField<MemInfo>{"Inactive(anon)", &MemInfo::inactive_anon},
    KeyedField<MemInfo>{"Active(file)", &MemInfo::active_file},
    KeyedField<MemInfo>{"Inactive(file)", &MemInfo::inactive_file},
    KeyedField<MemInfo>{"Unevictable", &MemInfo::unevictable},
    KeyedField<MemInfo>{"Mlocked", &MemInfo::mlocked},
    KeyedField<MemInfo>{"SwapTotal", &MemInfo::swap_total},
    KeyedField<MemInfo>{"SwapFree", &MemInfo::swap_free},
    KeyedField<MemInfo>{"Zswap", &MemInfo::zswap},
    KeyedField<MemInfo>{"Zswapped", &MemInfo::zswapped},
    KeyedField<MemInfo>{"Dirty", &MemInfo::dirty},
    KeyedField<MemInfo>{"Writeback", &MemInfo::writeback},
    KeyedField<MemInfo>{"AnonPages", &MemInfo::anon_pages},
    KeyedField<MemInfo>{"Mapped", &MemInfo::mapped},
    KeyedField<MemInfo>{"Shmem", &MemInfo::shmem},
    KeyedField<MemInfo>{"SReclaimable", &MemInfo::slab_reclaimable},
    KeyedField<MemInfo>{"SUnreclaim", &MemInfo::slab_unreclaimable},
    KeyedField<MemInfo>{"KernelStack", &MemInfo::kernel_stack},
    KeyedField<MemInfo>{"PageTables", &MemInfo::page_tables},
    KeyedField<MemInfo>{"CommitLimit", &MemInfo::commit_limit},
    KeyedField<MemInfo>{"Committed_AS", &MemInfo::committed},
    KeyedField<MemInfo>{"AnonHugePages", &MemInfo::anon_huge_pages},
};

// Exact keys stand before the families that would take them.
constexpr std::array kVmStatFields = {
    KeyedField<VmStat>{"pgpgin", &VmStat::page_in_kib},
    KeyedField<VmStat>{"pgpgout", &VmStat::page_out_kib},
    KeyedField<VmStat>{"pswpin", &VmStat::swap_in_pages},
    KeyedField<VmStat>{"pswpout", &VmStat::swap_out_pages},
    KeyedField<VmStat>{"pgfault", &VmStat::faults},
    KeyedField<VmStat>{"pgmajfault", &VmStat::major_faults},
    KeyedField<VmStat>{"pgfree", &VmStat::freed_pages},
    KeyedField<VmStat>{"pgactivate", &VmStat::activated_pages},
    KeyedField<VmStat>{"pgscan_kswapd", &VmStat::scan_kswapd_pages},
    KeyedField<VmStat>{"pgscan_direct", &VmStat::scan_direct_pages},
    KeyedField<VmStat>{"pgsteal_kswapd", &VmStat::steal_kswapd_pages},
    KeyedField<VmStat>{"pgsteal_direct", &VmStat::steal_direct_pages},
    KeyedField<VmStat>{"allocstall", &VmStat::allocation_stalls, true},
    KeyedField<VmStat>{"workingset_refault_anon", &VmStat::refault_anon_pages},
    KeyedField<VmStat>{"workingset_refault_file", &VmStat::refault_file_pages},
    KeyedField<VmStat>{"workingset_refault", &VmStat::refault_file_pages},
    KeyedField<VmStat>{"compact_stall", &VmStat::compaction_stalls},
    KeyedField<VmStat>{"oom_kill", &VmStat::oom_kills},
    KeyedField<VmStat>{"thp_fault_alloc", &VmStat::thp_fault_allocations},
    KeyedField<VmStat>{"thp_split_page", &VmStat::thp_splits},
    KeyedField<VmStat>{"zswpin", &VmStat::zswap_in_pages},
    KeyedField<VmStat>{"zswpout", &VmStat::zswap_out_pages},
    KeyedField<VmStat>{"pgscan_direct_throttle", &VmStat::throttled_reclaims},
};

constexpr std::array kProcessStatusFields = {
    KeyedField<ProcessStatus>{"VmHWM", &ProcessStatus::resident_peak},
    KeyedField<ProcessStatus>{"VmRSS", &ProcessStatus::resident},
    KeyedField<ProcessStatus>{"RssAnon", &ProcessStatus::resident_anon},
    KeyedField<ProcessStatus>{"RssFile", &ProcessStatus::resident_file},
    KeyedField<ProcessStatus>{"RssShmem", &ProcessStatus::resident_shmem},
    KeyedField<ProcessStatus>{"VmSize", &ProcessStatus::virtual_size},
    KeyedField<ProcessStatus>{"VmLck", &ProcessStatus::locked},
    KeyedField<ProcessStatus>{"VmSwap", &ProcessStatus::swapped},
    KeyedField<ProcessStatus>{"VmPTE", &ProcessStatus::page_tables},
    KeyedField<ProcessStatus>{"Threads", &ProcessStatus::threads},
    KeyedField<ProcessStatus>{"voluntary_ctxt_switches", &ProcessStatus::voluntary_switches},
    KeyedField<ProcessStatus>{"nonvoluntary_ctxt_switches", &ProcessStatus::involuntary_switches},
};

constexpr std::array kProcessIoFields = {
    KeyedField<ProcessIo>{"read_bytes", &ProcessIo::read_bytes},
    KeyedField<ProcessIo>{"write_bytes", &ProcessIo::write_bytes},
};

std::optional<double> ToFiniteDouble(std::string_view word) {
  const std::optional<double> value = ToNumber<double>(word);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<PressureLine> ParsePressureFigures(std::string_view line) {
  PressureLine result;
  unsigned found = 0;
  std::string_view word;
  while (NextWord(&line, &word)) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word.substr(0, equals);
    const std::string_view text = word.substr(equals + 1);
    if (key == "total") {
      const std::optional<std::uint64_t> total = ToNumber<std::uint64_t>(text);
      if (!total) return std::nullopt;
      result.total_us = *total;
      found |= 1U;
      continue;
    }
    double* field = nullptr;
    unsigned bit = 0;
    if (key == "avg10") {
      field = &result.avg10_percent;
      bit = 2U;
    } else if (key == "avg60") {
      field = &result.avg60_percent;
      bit = 4U;
    } else if (key == "avg300") {
      field = &result.avg300_percent;
      bit = 8U;
    } else {
      continue;
    }
    const std::optional<double> value = ToFiniteDouble(text);
    if (!value) return std::nullopt;
    *field = *value;
    found |= bit;
  }
  return found == 15U ? std::optional(result) : std::nullopt;
}

}  // namespace

MemInfo ParseMemInfo(std::string_view content) {
  return ParseKeyedLines<MemInfo>(content, kMemInfoFields);
}

VmStat ParseVmStat(std::string_view content) {
  return ParseKeyedLines<VmStat>(content, kVmStatFields);
}

Pressure ParsePressure(std::string_view content) {
  Pressure result;
  std::string_view line;
  while (NextLine(&content, &line)) {
    std::string_view name;
    if (!NextWord(&line, &name)) continue;
    if (name == "some") result.some = ParsePressureFigures(line);
    if (name == "full") result.full = ParsePressureFigures(line);
  }
  return result;
}

SystemStat ParseSystemStat(std::string_view content) {
  SystemStat result;
  std::string_view line;
  while (NextLine(&content, &line)) {
    std::string_view key;
    if (!NextWord(&line, &key)) continue;
    if (key == "cpu") {
      // user nice system idle iowait irq softirq steal …; older kernels have fewer.
      std::array<std::optional<std::uint64_t>, 8> ticks;
      for (auto& tick : ticks) tick = NextNumber<std::uint64_t>(&line);
      const auto sum = [](OptionalCount a, OptionalCount b) -> OptionalCount {
        if (!a) return std::nullopt;
        return AddSaturated(*a, b.value_or(0));
      };
      result.user_ticks = sum(ticks[0], ticks[1]);
      result.system_ticks = ticks[2];
      result.idle_ticks = ticks[3];
      result.iowait_ticks = ticks[4];
      result.irq_ticks = sum(ticks[5], ticks[6]);
      result.steal_ticks = ticks[7];
    } else if (key == "ctxt") {
      result.context_switches = NextNumber<std::uint64_t>(&line);
    } else if (key == "btime") {
      result.boot_time_seconds = NextNumber<std::uint64_t>(&line);
    } else if (key == "procs_blocked") {
      result.blocked_processes = NextNumber<std::uint64_t>(&line);
    }
  }
  return result;
}

std::optional<LoadAverage> ParseLoadAverage(std::string_view content) {
  LoadAverage result;
  for (double* field : {&result.one_minute, &result.five_minutes, &result.fifteen_minutes}) {
    std::string_view word;
    if (!NextWord(&content, &word)) return std::nullopt;
    const std::optional<double> value = ToFiniteDouble(word);
    if (!value) return std::nullopt;
    *field = *value;
  }
  return result;
}

std::optional<ProcessStat> ParseProcessStat(std::string_view content) {
  ProcessStat result;
  const std::size_t name_begin = content.find('(');
  const std::size_t name_end = content.rfind(')');
  if (name_begin == std::string_view::npos || name_end == std::string_view::npos || name_end < name_begin) {
    return std::nullopt;
  }
  std::string_view before = content.substr(0, name_begin);
  const std::optional<std::int64_t> pid = NextNumber<std::int64_t>(&before);
  std::string_view rest = content.substr(name_end + 1);
  std::string_view word;
  if (!pid || !NextWord(&rest, &word) || word.size() != 1) return std::nullopt;
  result.pid = *pid;
  result.state = word.front();

  // Fields are numbered as in proc(5): the state is 3, the parent 4.
  constexpr int kLastField = 42;
  for (int field = 4; field <= kLastField && NextWord(&rest, &word); ++field) {
    const auto put = [&word](std::uint64_t* target) {
      const std::optional<std::uint64_t> value = ToNumber<std::uint64_t>(word);
      if (value) *target = *value;
      return value.has_value();
    };
    bool good = true;
    switch (field) {
      case 4: {
        const std::optional<std::int64_t> parent = ToNumber<std::int64_t>(word);
        good = parent.has_value();
        result.parent_pid = parent.value_or(0);
        break;
      }
      case 5:
        result.process_group = ToNumber<std::int64_t>(word).value_or(0);
        break;
      case 10:
        good = put(&result.minor_faults);
        break;
      case 12:
        good = put(&result.major_faults);
        break;
      case 14:
        good = put(&result.user_ticks);
        break;
      case 15:
        good = put(&result.system_ticks);
        break;
      case 20:
        good = put(&result.threads);
        break;
      case 22:
        good = put(&result.start_ticks);
        break;
      case 23:
        good = put(&result.virtual_bytes);
        break;
      case 24: {
        good = put(&result.resident_pages);
        if (!good) return std::nullopt;
        break;
      }
      case kLastField:
        result.block_io_delay_ticks = ToNumber<std::uint64_t>(word);
        break;
      default:
        break;
    }
    if (!good) return std::nullopt;
    if (field == kLastField) return result;
    if (field == 24 && rest.find_first_not_of(" \n") == std::string_view::npos) return result;
  }
  return std::nullopt;
}

std::optional<ProcessStatm> ParseProcessStatm(std::string_view content) {
  ProcessStatm result;
  for (std::uint64_t* field : {&result.size_pages, &result.resident_pages, &result.shared_pages}) {
    const std::optional<std::uint64_t> value = NextNumber<std::uint64_t>(&content);
    if (!value) return std::nullopt;
    *field = *value;
  }
  return result;
}

ProcessStatus ParseProcessStatus(std::string_view content) {
  ProcessStatus result = ParseKeyedLines<ProcessStatus>(content, kProcessStatusFields);
  std::string_view line;
  while (NextLine(&content, &line)) {
    std::string_view word;
    if (!NextWord(&line, &word) || word != "CapEff:" || !NextWord(&line, &word)) continue;
    std::uint64_t bits = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bits, 16);
    if (error == std::errc() && end == word.data() + word.size()) result.effective_capabilities = bits;
  }
  return result;
}

ProcessIo ParseProcessIo(std::string_view content) {
  return ParseKeyedLines<ProcessIo>(content, kProcessIoFields);
}

std::optional<std::uint64_t> ParseNumber(std::string_view content) {
  std::string_view extra;
  const std::optional<std::uint64_t> value = NextNumber<std::uint64_t>(&content);
  return NextWord(&content, &extra) ? std::nullopt : value;
}

std::optional<std::uint64_t> FindKeyedNumber(std::string_view content, std::string_view key) {
  std::string_view line;
  while (NextLine(&content, &line)) {
    std::string_view word;
    if (NextWord(&line, &word) && word == key) return NextNumber<std::uint64_t>(&line);
  }
  return std::nullopt;
}

}  // namespace ballast::os
