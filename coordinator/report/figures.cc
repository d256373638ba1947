#include "coordinator/report/figures.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/metrics/metric_table.h"
#include "coordinator/report/commands.h"
#include "coordinator/report/survival.h"

namespace ballast::report {

// What a figure is computed from. Metrics that are not there have a null summary.
struct FigureInputs {
  const v1::Workload& workload;
  const v1::Attempt* attempt;   // null where there is none
  const v1::RunResult* result;  // null where the attempt has not ended or its device never told
  std::array<const v1::MetricSummary*, metrics::kMetricCount> summaries;
};

namespace {

using metrics::MetricId;
using Direction = v1::ComparisonRow;
using Value = std::optional<double>;

// Durations of results come from devices; protobuf's range is wider than what nanoseconds in 64 bits hold.
double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + static_cast<double>(duration.nanos()) / 1e9;
}

const v1::MetricSummary* SummaryOf(const FigureInputs& in, MetricId id) {
  const v1::MetricSummary* summary = in.summaries[metrics::IndexOf(id)];
  return summary != nullptr && summary->count() > 0 ? summary : nullptr;
}

double Scaled(std::int64_t stored, MetricId id) {
  return static_cast<double>(stored) / static_cast<double>(metrics::AllMetrics()[metrics::IndexOf(id)].scale);
}

Value Min(const FigureInputs& in, MetricId id) {
  const v1::MetricSummary* summary = SummaryOf(in, id);
  return summary == nullptr ? Value() : Scaled(summary->min(), id);
}

Value Max(const FigureInputs& in, MetricId id) {
  const v1::MetricSummary* summary = SummaryOf(in, id);
  return summary == nullptr ? Value() : Scaled(summary->max(), id);
}

// How much a counter rose between the first and the last sample. Unknown from one sample, and where it was set back in
// between.
Value Rise(const FigureInputs& in, MetricId id) {
  const v1::MetricSummary* summary = SummaryOf(in, id);
  if (summary == nullptr || summary->count() < 2 || summary->last() < summary->first()) return {};
  return Scaled(summary->last(), id) - Scaled(summary->first(), id);
}

// Division rather than a product with 1e-6: it gives the nearest number, so that 1500 us are 0.0015 s and not
// 0.0014999999.
Value Over(Value value, double divisor) {
  return value.has_value() ? Value(*value / divisor) : value;
}

// The greater of what the runner counted itself and what was sampled from outside: each may have missed the other's
// peak.
Value Peak(std::uint64_t counted, Value sampled) {
  if (counted == 0) return sampled;
  return std::max(static_cast<double>(counted), sampled.value_or(0));
}

Value AttemptSeconds(const FigureInputs& in) {
  // Without a result the end is the coordinator's, the start the device's: their difference would mix two clocks.
  if (in.result == nullptr || !in.attempt->has_start_time() || !in.attempt->has_end_time()) return {};
  const google::protobuf::Timestamp& start = in.attempt->start_time();
  const google::protobuf::Timestamp& end = in.attempt->end_time();
  const double seconds = (static_cast<double>(end.seconds()) - static_cast<double>(start.seconds())) +
                         (static_cast<double>(end.nanos()) - static_cast<double>(start.nanos())) / 1e9;
  // A device may set its clock back in mid-run.
  return seconds >= 0 ? Value(seconds) : Value();
}

// All phases that held a target of memory in use, as one.
struct Hold {
  std::uint64_t samples = 0;
  std::uint64_t within_half_point = 0;
  std::uint64_t within_one_point = 0;
  double min_percent = 0;
  double max_percent = 0;
};

std::optional<Hold> HoldOf(const FigureInputs& in) {
  if (in.result == nullptr) return {};
  Hold hold;
  for (const v1::Phase& phase : in.result->phases()) {
    const v1::HoldQuality& quality = phase.hold_quality();
    if (quality.sample_count() == 0 || phase.has_target_psi()) continue;
    hold.min_percent = hold.samples == 0 ? quality.min_percent() : std::min(hold.min_percent, quality.min_percent());
    hold.max_percent = hold.samples == 0 ? quality.max_percent() : std::max(hold.max_percent, quality.max_percent());
    hold.samples += quality.sample_count();
    hold.within_half_point += quality.within_half_point_count();
    hold.within_one_point += quality.within_one_point_count();
  }
  return hold.samples > 0 ? std::optional(hold) : std::nullopt;
}

// All phases that held a stall, as one.
struct StallHold {
  std::uint64_t samples = 0;
  std::uint64_t within_five_points = 0;
  double percent_sum = 0;
};

std::optional<StallHold> StallHoldOf(const FigureInputs& in) {
  if (in.result == nullptr) return {};
  StallHold hold;
  for (const v1::Phase& phase : in.result->phases()) {
    const v1::StallQuality& stall = phase.hold_quality().stall();
    hold.samples += stall.sample_count();
    hold.within_five_points += stall.within_five_points_count();
    hold.percent_sum += stall.mean_percent() * stall.sample_count();
  }
  return hold.samples > 0 ? std::optional(hold) : std::nullopt;
}

// The mean of the bytes that were held over all phases that held a target: what the target took.
Value HeldMean(const FigureInputs& in) {
  if (in.result == nullptr) return {};
  double sum = 0;
  double samples = 0;
  for (const v1::Phase& phase : in.result->phases()) {
    const v1::HoldQuality& quality = phase.hold_quality();
    // Workers of the version before did not count the bytes.
    if (quality.max_held_bytes() == 0) continue;
    sum += static_cast<double>(quality.mean_held_bytes()) * quality.sample_count();
    samples += quality.sample_count();
  }
  return samples > 0 ? Value(sum / samples) : Value();
}

// The figure of a remark on the run's validity.
Value RemarkValue(const FigureInputs& in, v1::ValidityRemark::Kind kind) {
  if (in.result == nullptr) return {};
  const auto& remarks = in.result->validity().remarks();
  const auto found = std::ranges::find(remarks, kind, &v1::ValidityRemark::kind);
  return found == remarks.end() ? Value() : Value(found->value());
}

// A part of the observer's cost. Zeros of older workers, which did not measure it, are no figures.
Value CostValue(const FigureInputs& in, std::uint64_t (v1::ObserverCost::*part)() const) {
  const bool known = in.result != nullptr && in.result->observer_cost().pss_bytes() > 0;
  return known ? Value(static_cast<double>((in.result->observer_cost().*part)())) : Value();
}

// A figure over the executions of a program that came to their end; the mean of those that survived, so that what was
// cut short does not look fast.
Value CommandMean(const FigureInputs& in, std::string_view name) {
  if (in.result == nullptr) return {};
  double sum = 0;
  double count = 0;
  for (const v1::CommandResult& command : in.result->commands()) {
    if (command.outcome().kind() != v1::COMPLETED) continue;
    for (const v1::Figure& figure : ComputeCommandFigures(command)) {
      if (figure.name() != name) continue;
      sum += figure.value();
      ++count;
    }
  }
  return count > 0 ? Value(sum / count) : Value();
}

// The most memory that an execution took, however it ended.
Value CommandPeak(const FigureInputs& in) {
  if (in.result == nullptr) return {};
  std::uint64_t peak = 0;
  for (const v1::CommandResult& command : in.result->commands()) peak = std::max(peak, command.peak_memory_bytes());
  return peak > 0 ? Value(static_cast<double>(peak)) : Value();
}

Value CommandSurvival(const FigureInputs& in) {
  if (in.result == nullptr) return {};
  double survived = 0;
  double count = 0;
  for (const v1::CommandResult& command : in.result->commands()) {
    if (!Counts(command.outcome().kind())) continue;
    ++count;
    if (command.outcome().kind() == v1::COMPLETED) ++survived;
  }
  return count > 0 ? Value(100.0 * survived / count) : Value();
}

double PercentOf(std::uint64_t part, std::uint64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// Ordered by name. One entry a figure: docs/reports.md has the same list with the formulas in words.
constexpr std::array kFigures = {
    FigureDefinition{"agent_rss_max_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Max(in, MetricId::kAgentRssBytes); }},
    FigureDefinition{"background_cpu_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return RemarkValue(in, v1::ValidityRemark::BACKGROUND_CPU); }},
    FigureDefinition{"background_memory_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return RemarkValue(in, v1::ValidityRemark::BACKGROUND_MEMORY); }},
    FigureDefinition{"command_cpu_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CommandMean(in, "cpu_seconds"); }},
    FigureDefinition{"command_execution_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CommandMean(in, "execution_seconds"); }},
    FigureDefinition{"command_major_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CommandMean(in, "major_fault_count"); }},
    FigureDefinition{"command_minor_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CommandMean(in, "minor_fault_count"); }},
    FigureDefinition{"command_peak_memory_bytes", Direction::LOWER_IS_BETTER, CommandPeak},
    FigureDefinition{"command_survived_percent", Direction::HIGHER_IS_BETTER, CommandSurvival},
    FigureDefinition{"direct_reclaim_pages", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmPgstealDirectTotal); }},
    FigureDefinition{"duration_seconds", Direction::DIRECTION_UNSPECIFIED, AttemptSeconds},
    FigureDefinition{"fill_bytes_per_second", Direction::HIGHER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->fill_bytes_per_second() > 0;
                       return known ? Value(in.result->fill_bytes_per_second()) : Value();
                     }},
    FigureDefinition{"guard_act_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->sample_count() > 0;
                       return known ? Value(in.result->guard_acts_size()) : Value();
                     }},
    FigureDefinition{"hold_held_mean_bytes", Direction::DIRECTION_UNSPECIFIED, HeldMean},
    FigureDefinition{"hold_max_percent", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       const std::optional<Hold> hold = HoldOf(in);
                       return hold.has_value() ? Value(hold->max_percent) : Value();
                     }},
    FigureDefinition{"hold_min_percent", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       const std::optional<Hold> hold = HoldOf(in);
                       return hold.has_value() ? Value(hold->min_percent) : Value();
                     }},
    FigureDefinition{"hold_seconds", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       Value seconds;
                       if (in.result == nullptr) return seconds;
                       for (const v1::Phase& phase : in.result->phases()) {
                         if (phase.kind() != v1::Phase::HOLD || !phase.has_end_offset()) continue;
                         seconds = seconds.value_or(0) + Seconds(phase.end_offset()) - Seconds(phase.start_offset());
                       }
                       return seconds;
                     }},
    FigureDefinition{"hold_stall_mean_percent", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       const std::optional<StallHold> hold = StallHoldOf(in);
                       return hold.has_value() ? Value(hold->percent_sum / static_cast<double>(hold->samples))
                                               : Value();
                     }},
    FigureDefinition{"hold_stall_within_five_points_percent", Direction::HIGHER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const std::optional<StallHold> hold = StallHoldOf(in);
                       return hold.has_value() ? Value(PercentOf(hold->within_five_points, hold->samples)) : Value();
                     }},
    FigureDefinition{"hold_within_half_point_percent", Direction::HIGHER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const std::optional<Hold> hold = HoldOf(in);
                       return hold.has_value() ? Value(PercentOf(hold->within_half_point, hold->samples)) : Value();
                     }},
    FigureDefinition{"hold_within_one_point_percent", Direction::HIGHER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const std::optional<Hold> hold = HoldOf(in);
                       return hold.has_value() ? Value(PercentOf(hold->within_one_point, hold->samples)) : Value();
                     }},
    FigureDefinition{"lag_max_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool known =
                           in.result != nullptr && in.result->sample_count() > 0 && in.workload.has_pressure();
                       return known ? Value(static_cast<double>(in.result->max_lag_bytes())) : Value();
                     }},
    FigureDefinition{"limit_available_min_bytes", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) { return Min(in, MetricId::kMemLimitAvailableBytes); }},
    FigureDefinition{"limit_bytes", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->limit_bytes() > 0;
                       return known ? Value(static_cast<double>(in.result->limit_bytes())) : Value();
                     }},
    FigureDefinition{"major_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmPgmajfaultTotal); }},
    FigureDefinition{"mem_available_min_bytes", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) { return Min(in, MetricId::kMemAvailableBytes); }},
    FigureDefinition{"mem_used_max_percent", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) { return Max(in, MetricId::kMemUsedPercent); }},
    FigureDefinition{"missed_sample_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->sample_count() > 0;
                       return known ? Value(static_cast<double>(in.result->missed_sample_count())) : Value();
                     }},
    FigureDefinition{"observer_cpu_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const Value seconds = AttemptSeconds(in);
                       const bool known = seconds.value_or(0) > 0 && in.result->observer_cost().has_cpu_time();
                       return known ? Value(100.0 * Seconds(in.result->observer_cost().cpu_time()) / *seconds)
                                    : Value();
                     }},
    FigureDefinition{"observer_major_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CostValue(in, &v1::ObserverCost::major_faults); }},
    FigureDefinition{"observer_minor_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CostValue(in, &v1::ObserverCost::minor_faults); }},
    FigureDefinition{"observer_pss_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CostValue(in, &v1::ObserverCost::pss_bytes); }},
    FigureDefinition{"observer_written_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return CostValue(in, &v1::ObserverCost::written_bytes); }},
    FigureDefinition{"peak_held_bytes", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       return Peak(in.result == nullptr ? 0 : in.result->peak_held_bytes(),
                                   Max(in, MetricId::kRunnerHeldBytes));
                     }},
    FigureDefinition{"peak_resident_bytes", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       return Peak(in.result == nullptr ? 0 : in.result->peak_resident_bytes(),
                                   Max(in, MetricId::kRunnerResidentBytes));
                     }},
    FigureDefinition{"psi_io_some_max_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Max(in, MetricId::kPsiIoSomeAvg10); }},
    FigureDefinition{"psi_memory_full_max_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Max(in, MetricId::kPsiMemoryFullAvg10); }},
    FigureDefinition{"psi_memory_full_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Over(Rise(in, MetricId::kPsiMemoryFullUsTotal), 1e6); }},
    FigureDefinition{"psi_memory_some_max_percent", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Max(in, MetricId::kPsiMemorySomeAvg10); }},
    FigureDefinition{"psi_memory_some_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Over(Rise(in, MetricId::kPsiMemorySomeUsTotal), 1e6); }},
    FigureDefinition{"refault_anon_pages", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmWorkingsetRefaultAnonTotal); }},
    FigureDefinition{"refault_file_pages", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmWorkingsetRefaultFileTotal); }},
    FigureDefinition{"runner_cpu_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Over(Rise(in, MetricId::kRunnerCpuMsTotal), 1e3); }},
    FigureDefinition{"runner_major_fault_count", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kRunnerMajorFaultsTotal); }},
    FigureDefinition{"runner_swap_max_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Max(in, MetricId::kRunnerSwapBytes); }},
    FigureDefinition{"sample_count", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->sample_count() > 0;
                       return known ? Value(static_cast<double>(in.result->sample_count())) : Value();
                     }},
    FigureDefinition{"sample_delay_max_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Over(Max(in, MetricId::kSampleDelayUs), 1e6); }},
    FigureDefinition{"steps_reached_count", Direction::HIGHER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool applies = in.result != nullptr && in.workload.pressure().has_staircase();
                       return applies ? Value(static_cast<double>(in.result->steps_size())) : Value();
                     }},
    FigureDefinition{"swap_in_pages", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmPswpinTotal); }},
    FigureDefinition{"swap_out_pages", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) { return Rise(in, MetricId::kVmPswpoutTotal); }},
    FigureDefinition{"swap_used_max_bytes", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const Value total = Max(in, MetricId::kSwapTotalBytes);
                       const Value free = Min(in, MetricId::kSwapFreeBytes);
                       return total.has_value() && free.has_value() ? Value(std::max(*total - *free, 0.0)) : Value();
                     }},
    FigureDefinition{"time_to_target_seconds", Direction::LOWER_IS_BETTER,
                     [](const FigureInputs& in) {
                       const bool known = in.result != nullptr && in.result->has_time_to_target();
                       return known ? Value(Seconds(in.result->time_to_target())) : Value();
                     }},
    FigureDefinition{"zram_ratio", Direction::DIRECTION_UNSPECIFIED,
                     [](const FigureInputs& in) { return RemarkValue(in, v1::ValidityRemark::ZRAM); }},
};

static_assert(std::ranges::is_sorted(kFigures, std::ranges::less(), &FigureDefinition::name));

}  // namespace

std::span<const FigureDefinition> AllFigures() {
  return kFigures;
}

std::vector<v1::Figure> ComputeFigures(const v1::Run& run, const v1::Workload& workload,
                                       std::span<const v1::MetricSummary> rollups) {
  const v1::Attempt* attempt = LastAttempt(run);
  FigureInputs inputs{.workload = workload, .attempt = attempt, .result = nullptr, .summaries = {}};
  // A result that stands in for a device that never told would mix the coordinator's clock with the device's, and has
  // no measurements anyway.
  const bool told = attempt != nullptr && attempt->has_result() && !attempt->given_up();
  if (told) inputs.result = &attempt->result();
  for (const v1::MetricSummary& summary : rollups) {
    // Newer workers may send metrics that this build does not know.
    if (const metrics::Metric* metric = metrics::FindMetric(summary.metric_id()); metric != nullptr) {
      inputs.summaries[metric->id - 1] = &summary;
    }
  }

  std::vector<v1::Figure> figures;
  for (const FigureDefinition& definition : kFigures) {
    const std::optional<double> value = definition.compute(inputs);
    if (!value.has_value() || !std::isfinite(*value)) continue;
    v1::Figure& figure = figures.emplace_back();
    figure.set_name(std::string(definition.name));
    figure.set_value(*value);
  }
  return figures;
}

const v1::Attempt* LastAttempt(const v1::Run& run) {
  return run.attempts().empty() ? nullptr : &*run.attempts().rbegin();
}

}  // namespace ballast::report
