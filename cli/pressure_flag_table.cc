#include "cli/pressure_flag_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/pressure_values.h"

namespace ballast::cli {

const std::vector<PressureFlag>& PressureFlagTable() {
  static const std::vector<PressureFlag> flags = {
      {"--step-size",
       "SIZE",
       "staircase: what each step adds (default 100 MiB)",
       "100MiB",
       {{"staircase", "staircase.step_size_bytes"}}},
      {"--interval",
       "TIME",
       "staircase: time from step to step (default 1s)",
       "1s",
       {{"staircase", "staircase.interval"}}},
      {"--steps", "N", "staircase: greatest number of steps (default 20)", "20", {{"staircase", "staircase.steps"}}},
      {"--target",
       "PERCENT|SIZE",
       "burst: memory in use to reach and hold: percent, or a size with its unit (default 70%)",
       "70%",
       {{"burst", "burst.target"}},
       SetTarget},
      {"--psi",
       "some=P|full=P",
       "burst: the stall to hold instead: percent of time in which some or all tasks wait for memory",
       "some=20",
       {{"burst", "burst.target"}},
       SetStall},
      {"--duration",
       "TIME",
       "burst, allocate_full: how long to hold (default 5s, 1s); sawtooth: one cycle (default 10s); staircase: how "
       "long "
       "to climb, instead of --steps",
       "5s",
       {{"burst", "burst.duration"},
        {"sawtooth", "sawtooth.cycle_duration"},
        {"allocate_full", "allocate_full.hold"},
        {"staircase", "staircase.steps"}},
       SetDuration},
      {"--min",
       "PERCENT",
       "sawtooth: lowest memory in use (default 30%)",
       "30%",
       {{"sawtooth", "sawtooth.min_percent"}}},
      {"--max",
       "PERCENT",
       "sawtooth: highest memory in use (default 70%)",
       "70%",
       {{"sawtooth", "sawtooth.max_percent"}}},
      {"--cycles", "N", "sawtooth: number of cycles (default 3)", "3", {{"sawtooth", "sawtooth.cycles"}}},
      {"--until",
       "END",
       "oom: without the guard, in allocate_full on to the OOM kill; floor: allocate_full's default",
       "oom",
       {{"allocate_full", "allocate_full.until"}, {"", "until"}},
       SetUntil},
      {"--hold",
       "TIME",
       "burst, allocate_full: another name of --duration",
       "5s",
       {{"burst", "burst.duration"}, {"allocate_full", "allocate_full.hold"}}},
      {"--floor",
       "PERCENT",
       "Available memory that no allocation goes below (default 5%)",
       "5%",
       {{"", "floor_percent"}}},
      {"--content",
       "CONTENT",
       "What pages hold: random, zero or compressible:RATIO (2, or 0.5: shrinks to half; default random)",
       "compressible:2",
       {{"", "content"}},
       SetContent},
      {"--kind",
       "KIND",
       "Kind of memory: anonymous, file_cache or shared (default anonymous)",
       "anonymous",
       {{"", "memory_kind"}}},
      {"--hot",
       "PERCENT",
       "Share of the held memory that is touched again and again, so that it stays in (default none)",
       "25%",
       {{"", "hot_set.percent"}}},
      {"--hot-interval",
       "TIME",
       "Within this time each page of it is touched once (default 1s)",
       "1s",
       {{"", "hot_set.interval"}}},
      {"--lock", nullptr, "Lock the held memory: it is never swapped out or dropped", "", {{"", "lock"}}},
      {"--threads", "N", "Threads that fill memory at once (default 1)", "2", {{"", "fill_threads"}}},
      {"--baseline", "TIME", "How long to observe before the load (default 1s)", "1s", {{"", "baseline"}}},
      {"--recovery", "TIME", "How long to observe after the load (default 1s)", "1s", {{"", "recovery"}}},
  };
  return flags;
}

const char* PathIn(const PressureFlag& flag, std::string_view mode) {
  const auto found = std::ranges::find_if(
      flag.fields, [mode](const PressureFlag::Field& field) { return field.mode.empty() || field.mode == mode; });
  return found == flag.fields.end() ? nullptr : found->path;
}

std::string ModesOf(const PressureFlag& flag) {
  std::vector<std::string_view> modes;
  for (const PressureFlag::Field& field : flag.fields) modes.push_back(field.mode);
  return fmt::format("{}", fmt::join(modes, ", "));
}

}  // namespace ballast::cli
