#include "worker/agent/run_validity.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "worker/agent/load_plan.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using metrics::SampleRow;
using std::chrono::nanoseconds;
using Remark = v1::ValidityRemark;

constexpr double kMaxMissedPercent = 5;
// Steps of the wall clock count; that it is slewed (at most 500 ppm) does not.
constexpr nanoseconds kClockStep = std::chrono::milliseconds(100);
constexpr double kClockSlew = 1e-3;
constexpr nanoseconds kSuspendStep = std::chrono::milliseconds(100);
// zram that holds next to nothing compresses it by chance.
constexpr std::int64_t kLeastZramBytes = 1 << 20;

std::optional<double> At(const SampleRow& row, MetricId id) {
  const std::int64_t value = row[metrics::IndexOf(id)];
  return value == metrics::kAbsent ? std::nullopt : std::optional(static_cast<double>(value));
}

std::optional<double> Rise(const SampleRow& first, const SampleRow& last, MetricId id) {
  const auto from = At(first, id);
  const auto to = At(last, id);
  if (!from || !to) return std::nullopt;
  return std::max(*to - *from, 0.0);
}

// Swap in use, in bytes and in percent; nothing without swap.
std::optional<std::pair<double, double>> SwapUsed(const SampleRow& row) {
  const auto total = At(row, MetricId::kSwapTotalBytes);
  const auto free = At(row, MetricId::kSwapFreeBytes);
  if (!total || !free || *total <= 0) return std::nullopt;
  const double used = std::max(*total - *free, 0.0);
  return std::pair(used, 100.0 * used / *total);
}

void Add(Remark::Kind kind, bool disqualifies, std::string message, double value, double threshold,
         v1::Validity* validity) {
  Remark& remark = *validity->add_remarks();
  remark.set_kind(kind);
  remark.set_disqualifies(disqualifies);
  remark.set_message(std::move(message));
  remark.set_value(value);
  remark.set_threshold(threshold);
}

// The limit of the environment that the run is in, as the kernel keeps it: in whole pages.
double LimitBytes(const v1::JobSpec& spec) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return static_cast<double>(spec.environment_profile().memory_bytes() / page * page);
}

double MedianOfThree(std::array<double, 3> values) {
  std::ranges::sort(values);
  return values[1];
}

}  // namespace

RunValidity::RunValidity(const v1::JobSpec& spec)
    : spec_(spec.validity()),
      locked_file_pages_(spec.workload().pressure().memory_kind() == v1::FILE_CACHE &&
                         spec.workload().pressure().lock()),
      locked_weights_(LoadOf(spec.workload()) != nullptr && LoadOf(spec.workload())->lock()),
      environment_bytes_(LimitBytes(spec)),
      first_row_(metrics::EmptyRow()),
      row_(metrics::EmptyRow()) {}

void RunValidity::Begin(const SampleRow& row, const ConditionsReading& reading) {
  begun_ = true;
  first_row_ = row_ = row;
  first_ = last_ = reading;
}

void RunValidity::SetDevice(std::vector<std::string> oom_daemons, std::string governor) {
  oom_daemons_ = std::move(oom_daemons);
  governor_ = std::move(governor);
}

void RunValidity::SetNotSettled(nanoseconds waited, const std::string& problem) {
  not_settled_seconds_ = base::ToSeconds(waited);
  not_settled_problem_ = problem;
}

std::optional<double> RunValidity::OthersMemory(const SampleRow& row) const {
  const auto limit = At(row, MetricId::kMemLimitBytes);
  const auto available = At(row, MetricId::kMemLimitAvailableBytes);
  const auto anon = At(row, MetricId::kRunnerAnonBytes);
  if (!limit || !available || !anon) return std::nullopt;
  const bool machine = At(row, MetricId::kMemTotalBytes) == limit;
  // Nobody else is in the environment's group. What the load has left there (files in tmpfs, pages of a process that
  // was just killed) belongs to no process, and not to others either.
  if (!machine && *limit == environment_bytes_) return 0;
  double runner = *anon + At(row, MetricId::kRunnerShmemBytes).value_or(0);
  // The kernel calls pages of files available unless they are locked.
  if (locked_file_pages_) runner += At(row, MetricId::kRunnerFileBytes).value_or(0);
  runner +=
      At(row, MetricId::kLoadCgroupMemoryBytes)
          .value_or(At(row, MetricId::kLoadAnonBytes).value_or(0) + At(row, MetricId::kLoadShmemBytes).value_or(0));
  if (locked_weights_) runner += At(row, MetricId::kLoadFileBytes).value_or(0);
  double others = *limit - *available - runner;
  // On the machine as a whole what is swapped out still belongs to somebody: that the load drives it out is no change.
  if (machine) {
    if (const auto swap = SwapUsed(row)) {
      const double load =
          At(row, MetricId::kLoadCgroupSwapBytes).value_or(At(row, MetricId::kLoadSwapBytes).value_or(0));
      others += swap->first - At(row, MetricId::kRunnerSwapBytes).value_or(0) - load;
    }
    others -= At(row, MetricId::kZramCompressedBytes).value_or(0);  // the same pages once more
  }
  return others;
}

void RunValidity::AddSample(const SampleRow& row) {
  if (!begun_) return;
  row_ = row;
  const std::int64_t zram = row[metrics::IndexOf(MetricId::kZramDataBytes)];
  if (zram > zram_data_bytes_) {
    zram_data_bytes_ = zram;
    zram_compressed_bytes_ = row[metrics::IndexOf(MetricId::kZramCompressedBytes)];
  }
  const auto others = OthersMemory(row);
  if (!others) return;
  // The files of one sample are not read at one instant: where memory moves fast, or the agent lost the processor
  // between two of them, a single sample is far off. The median of three is not.
  others_[others_count_++ % others_.size()] = *others;
  if (others_count_ < others_.size()) return;
  const double median = MedianOfThree(others_);
  const bool first = others_count_ == others_.size();
  least_others_bytes_ = first ? median : std::min(least_others_bytes_, median);
  most_others_bytes_ = first ? median : std::max(most_others_bytes_, median);
}

void RunValidity::AddConditions(const ConditionsReading& reading) {
  if (!begun_) return;
  const nanoseconds awake = reading.monotonic - last_.monotonic;
  const nanoseconds passed = reading.boottime - last_.boottime;
  const nanoseconds jump = reading.realtime - last_.realtime - passed;
  const double seconds = std::abs(base::ToSeconds(jump));
  if (seconds > base::ToSeconds(kClockStep) + kClockSlew * base::ToSeconds(passed))
    clock_jumps_ += std::chrono::abs(jump);
  if (passed - awake > kSuspendStep) suspended_ += passed - awake;
  if (reading.too_hot.value_or(false)) ++hot_readings_;
  if (reading.frequency_percent) {
    lowest_frequency_percent_ =
        std::min(lowest_frequency_percent_.value_or(*reading.frequency_percent), *reading.frequency_percent);
  }
  last_ = reading;
}

v1::Validity RunValidity::Judge(const v1::RunResult& result) const {
  v1::Validity validity;
  if (not_settled_seconds_) {
    Add(Remark::NOT_SETTLED, true,
        fmt::format("the device did not become quiet within {:.0f} s: {}", *not_settled_seconds_, not_settled_problem_),
        *not_settled_seconds_, 0, &validity);
  }
  if (begun_) {
    JudgeBackground(&validity);
    JudgeProcessors(&validity);
    JudgeSwap(&validity);
    JudgeTime(result, &validity);
  }
  JudgeOomDaemons(result, &validity);
  validity.set_valid(std::ranges::none_of(validity.remarks(), &Remark::disqualifies));
  return validity;
}

void RunValidity::JudgeBackground(v1::Validity* validity) const {
  const auto busy = Rise(first_row_, row_, MetricId::kCpuBusyMsTotal);
  const auto idle = Rise(first_row_, row_, MetricId::kCpuIdleMsTotal);
  if (busy && idle && *busy + *idle > 0) {
    // A child that was waited for is known to the microsecond; of one that lives the last sample has to do.
    const double runner = 1e3 * base::ToSeconds(last_.children_cpu - first_.children_cpu) +
                          At(row_, MetricId::kRunnerCpuMsTotal).value_or(0) +
                          At(row_, MetricId::kLoadCpuMsTotal).value_or(0);
    const double own = runner + 1e3 * base::ToSeconds(last_.agent_cpu - first_.agent_cpu) +
                       1e3 * base::ToSeconds(last_.reclaim_cpu - first_.reclaim_cpu);
    const double percent = std::clamp(100.0 * (*busy - own) / (*busy + *idle), 0.0, 100.0);
    Add(Remark::BACKGROUND_CPU, percent > spec_.max_background_cpu_percent(),
        fmt::format("other processes used {:.1f} % of the processors", percent), percent,
        spec_.max_background_cpu_percent(), validity);
  }
  const auto limit = At(row_, MetricId::kMemLimitBytes);
  if (others_count_ >= others_.size() && limit && *limit > 0) {
    const double percent = 100.0 * (most_others_bytes_ - least_others_bytes_) / *limit;
    Add(Remark::BACKGROUND_MEMORY, percent > spec_.max_background_memory_percent(),
        fmt::format("memory of other processes moved over {:.1f} % of the limit", percent), percent,
        spec_.max_background_memory_percent(), validity);
  }
}

void RunValidity::JudgeProcessors(v1::Validity* validity) const {
  if (first_.throttle_count && last_.throttle_count) {
    const std::uint64_t rise = *last_.throttle_count - std::min(*first_.throttle_count, *last_.throttle_count);
    if (rise > 0) {
      Add(Remark::THERMAL_THROTTLING, true, fmt::format("processors were throttled {} times because of heat", rise),
          static_cast<double>(rise), 0, validity);
    }
  } else if (hot_readings_ > 0) {
    Add(Remark::THERMAL_THROTTLING, true,
        fmt::format("the device was so hot that the kernel slows processors down, in {} readings", hot_readings_),
        static_cast<double>(hot_readings_), 0, validity);
  }
  if (!governor_.empty() && governor_ != "performance") {
    Add(Remark::FREQUENCY_GOVERNOR, false,
        fmt::format("the frequency governor is {}{}", governor_,
                    lowest_frequency_percent_ ? fmt::format("; the lowest frequency seen was {:.0f} % of the highest",
                                                            *lowest_frequency_percent_)
                                              : ""),
        lowest_frequency_percent_.value_or(0), 0, validity);
  }
}

void RunValidity::JudgeSwap(v1::Validity* validity) const {
  if (const auto swap = SwapUsed(first_row_); swap && swap->first > 0) {
    Add(Remark::SWAP_IN_USE, swap->second > spec_.max_swap_used_percent(),
        fmt::format("{:.1f} % of swap was in use before the run", swap->second), swap->second,
        spec_.max_swap_used_percent(), validity);
  }
  if (zram_data_bytes_ >= kLeastZramBytes && zram_compressed_bytes_ > 0) {
    const double ratio = static_cast<double>(zram_data_bytes_) / static_cast<double>(zram_compressed_bytes_);
    Add(Remark::ZRAM, false,
        fmt::format("zram held {} and compressed it {:.2f} times",
                    base::FormatBytes(static_cast<std::uint64_t>(zram_data_bytes_)), ratio),
        ratio, 0, validity);
  }
}

void RunValidity::JudgeTime(const v1::RunResult& result, v1::Validity* validity) const {
  if (clock_jumps_ > nanoseconds(0)) {
    const double seconds = base::ToSeconds(clock_jumps_);
    Add(Remark::CLOCK_JUMP, false, fmt::format("the wall clock jumped by {:.1f} s", seconds), seconds, 0, validity);
  }
  if (suspended_ > nanoseconds(0)) {
    const double seconds = base::ToSeconds(suspended_);
    Add(Remark::SUSPENDED, true, fmt::format("the device slept for {:.1f} s", seconds), seconds, 0, validity);
  }
  if (result.missed_sample_count() > 0) {
    const auto missed = static_cast<double>(result.missed_sample_count());
    const double threshold = kMaxMissedPercent / 100.0 * (missed + static_cast<double>(result.sample_count()));
    Add(Remark::MISSED_SAMPLES, missed > threshold,
        fmt::format("{} of {} samples could not be taken in time", result.missed_sample_count(),
                    result.missed_sample_count() + result.sample_count()),
        missed, threshold, validity);
  }
}

void RunValidity::JudgeOomDaemons(const v1::RunResult& result, v1::Validity* validity) const {
  if (oom_daemons_.empty()) return;
  const bool ended_it = result.outcome().evidence().killer() == v1::USERSPACE_OOM_DAEMON;
  Add(Remark::OOM_DAEMON, ended_it,
      fmt::format("{} {}", fmt::join(oom_daemons_, ", "),
                  ended_it ? "ended the runner before the kernel or the guard did"
                           : "runs, and may end the runner before the kernel does"),
      static_cast<double>(oom_daemons_.size()), 0, validity);
}

}  // namespace ballast::agent
