// Parsers of the files in /proc. They take a file's content, so that malformed text is a unit test. None of them
// allocates, throws or trusts a size: a line that is missing or makes no sense leaves its field empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ballast::os {

using OptionalBytes = std::optional<std::uint64_t>;
using OptionalCount = std::optional<std::uint64_t>;

// /proc/meminfo. All in bytes.
struct MemInfo {
  OptionalBytes total;               // MemTotal
  OptionalBytes free;                // MemFree
  OptionalBytes available;           // MemAvailable
  OptionalBytes buffers;             // Buffers
  OptionalBytes cached;              // Cached
  OptionalBytes swap_cached;         // SwapCached
  OptionalBytes active_anon;         // Active(anon)
  OptionalBytes inactive_anon;       // Inactive(anon)
  OptionalBytes active_file;         // Active(file)
  OptionalBytes inactive_file;       // Inactive(file)
  OptionalBytes unevictable;         // Unevictable
  OptionalBytes mlocked;             // Mlocked
  OptionalBytes swap_total;          // SwapTotal
  OptionalBytes swap_free;           // SwapFree
  OptionalBytes zswap;               // Zswap: compressed size of the pool
  OptionalBytes zswapped;            // Zswapped: original size of what is in it
  OptionalBytes dirty;               // Dirty
  OptionalBytes writeback;           // Writeback
  OptionalBytes anon_pages;          // AnonPages
  OptionalBytes mapped;              // Mapped
  OptionalBytes shmem;               // Shmem
  OptionalBytes slab_reclaimable;    // SReclaimable
  OptionalBytes slab_unreclaimable;  // SUnreclaim
  OptionalBytes kernel_stack;        // KernelStack
  OptionalBytes page_tables;         // PageTables
  OptionalBytes commit_limit;        // CommitLimit
  OptionalBytes committed;           // Committed_AS
  OptionalBytes anon_huge_pages;     // AnonHugePages
};
[[nodiscard]] MemInfo ParseMemInfo(std::string_view content);

// /proc/vmstat. Counts since boot; of pages where the name says pages. Where the kernel splits a figure (by zone, or
// into anonymous and file pages), the field is the sum.
struct VmStat {
  OptionalCount page_in_kib;            // pgpgin
  OptionalCount page_out_kib;           // pgpgout
  OptionalCount swap_in_pages;          // pswpin
  OptionalCount swap_out_pages;         // pswpout
  OptionalCount faults;                 // pgfault
  OptionalCount major_faults;           // pgmajfault
  OptionalCount freed_pages;            // pgfree
  OptionalCount activated_pages;        // pgactivate
  OptionalCount scan_kswapd_pages;      // pgscan_kswapd
  OptionalCount scan_direct_pages;      // pgscan_direct
  OptionalCount steal_kswapd_pages;     // pgsteal_kswapd
  OptionalCount steal_direct_pages;     // pgsteal_direct
  OptionalCount allocation_stalls;      // allocstall, or allocstall_* of every zone
  OptionalCount refault_anon_pages;     // workingset_refault_anon
  OptionalCount refault_file_pages;     // workingset_refault_file, or workingset_refault of kernels before 5.9
  OptionalCount compaction_stalls;      // compact_stall
  OptionalCount oom_kills;              // oom_kill
  OptionalCount thp_fault_allocations;  // thp_fault_alloc
  OptionalCount thp_splits;             // thp_split_page
  OptionalCount zswap_in_pages;         // zswpin
  OptionalCount zswap_out_pages;        // zswpout
  OptionalCount throttled_reclaims;     // pgscan_direct_throttle
};
[[nodiscard]] VmStat ParseVmStat(std::string_view content);

// /proc/pressure/* and a cgroup's *.pressure.
struct PressureLine {
  double avg10_percent = 0;  // share of the last 10 s
  double avg60_percent = 0;
  double avg300_percent = 0;
  std::uint64_t total_us = 0;  // stalled microseconds since boot
};
struct Pressure {
  std::optional<PressureLine> some;
  std::optional<PressureLine> full;
};
[[nodiscard]] Pressure ParsePressure(std::string_view content);

// The first line of /proc/stat, in clock ticks since boot, and what else of the file is of use.
struct SystemStat {
  OptionalCount user_ticks;  // with nice
  OptionalCount system_ticks;
  OptionalCount idle_ticks;
  OptionalCount iowait_ticks;
  OptionalCount irq_ticks;  // hard and soft
  OptionalCount steal_ticks;
  OptionalCount context_switches;   // ctxt
  OptionalCount boot_time_seconds;  // btime, since 1970
  OptionalCount blocked_processes;  // procs_blocked
};
[[nodiscard]] SystemStat ParseSystemStat(std::string_view content);

// /proc/loadavg.
struct LoadAverage {
  double one_minute = 0;
  double five_minutes = 0;
  double fifteen_minutes = 0;
};
[[nodiscard]] std::optional<LoadAverage> ParseLoadAverage(std::string_view content);

// /proc/PID/stat. The name may hold spaces and parentheses: everything up to the last `)` belongs to it.
struct ProcessStat {
  std::int64_t pid = 0;
  char state = '?';  // R, S, D, Z, T, …
  std::int64_t parent_pid = 0;
  std::int64_t process_group = 0;
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  std::uint64_t user_ticks = 0;
  std::uint64_t system_ticks = 0;
  std::uint64_t threads = 0;
  std::uint64_t start_ticks = 0;  // since boot
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_pages = 0;
  OptionalCount block_io_delay_ticks;  // waited for block devices, swap-in included; absent in cut-off lines
};
[[nodiscard]] std::optional<ProcessStat> ParseProcessStat(std::string_view content);

// /proc/PID/statm, in pages.
struct ProcessStatm {
  std::uint64_t size_pages = 0;
  std::uint64_t resident_pages = 0;
  std::uint64_t shared_pages = 0;
};
[[nodiscard]] std::optional<ProcessStatm> ParseProcessStatm(std::string_view content);

// /proc/PID/status: sizes in bytes.
struct ProcessStatus {
  OptionalBytes resident_peak;   // VmHWM
  OptionalBytes resident;        // VmRSS
  OptionalBytes resident_anon;   // RssAnon
  OptionalBytes resident_file;   // RssFile
  OptionalBytes resident_shmem;  // RssShmem
  OptionalBytes virtual_size;    // VmSize
  OptionalBytes locked;          // VmLck
  OptionalBytes swapped;         // VmSwap
  OptionalBytes page_tables;     // VmPTE
  OptionalCount threads;         // Threads
  OptionalCount voluntary_switches;
  OptionalCount involuntary_switches;
  std::optional<std::uint64_t> effective_capabilities;  // CapEff, a bit each
};
[[nodiscard]] ProcessStatus ParseProcessStatus(std::string_view content);

// /proc/PID/io, in bytes of what reached (or came from) storage.
struct ProcessIo {
  OptionalBytes read_bytes;
  OptionalBytes write_bytes;
};
[[nodiscard]] ProcessIo ParseProcessIo(std::string_view content);

// A file that holds one number, as many of a cgroup do. Nothing for `max`, for anything else that is not a number, and
// above 2^64 - 1.
[[nodiscard]] std::optional<std::uint64_t> ParseNumber(std::string_view content);

// The number behind `key` in a file of `key value` lines (memory.stat, memory.events, memory.oom_control).
[[nodiscard]] std::optional<std::uint64_t> FindKeyedNumber(std::string_view content, std::string_view key);

}  // namespace ballast::os
