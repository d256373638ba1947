#include "coordinator/report/report.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/field_rules.h"
#include "common/jobs/variant.h"
#include "common/metrics/metric_table.h"
#include "coordinator/report/advice.h"
#include "coordinator/report/commands.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/group_summary.h"
#include "coordinator/report/invalid_runs.h"
#include "coordinator/report/model_comparison.h"
#include "coordinator/report/run_selection.h"
#include "coordinator/report/run_telemetry.h"
#include "coordinator/report/soak.h"

namespace ballast::report {
namespace {

std::vector<std::string> Strings(const google::protobuf::RepeatedPtrField<std::string>& field) {
  return {field.begin(), field.end()};
}

// Rollups in the metrics' own units, ordered by name. Metrics that this build does not know are left out: nobody could
// tell their unit.
void AddRollups(std::span<const v1::MetricSummary> summaries, v1::RunReport* report) {
  for (const v1::MetricSummary& summary : summaries) {
    const metrics::Metric* metric = metrics::FindMetric(summary.metric_id());
    if (metric == nullptr || summary.count() == 0) continue;
    const auto scale = static_cast<double>(metric->scale);
    v1::MetricRollup& rollup = *report->add_rollups();
    rollup.set_metric(std::string(metric->name));
    rollup.set_count(summary.count());
    rollup.set_min(static_cast<double>(summary.min()) / scale);
    rollup.set_mean(summary.sum() / static_cast<double>(summary.count()) / scale);
    rollup.set_max(static_cast<double>(summary.max()) / scale);
    rollup.set_first(static_cast<double>(summary.first()) / scale);
    rollup.set_last(static_cast<double>(summary.last()) / scale);
  }
  std::ranges::sort(*report->mutable_rollups(), std::ranges::less(), &v1::MetricRollup::metric);
}

// Describes every metric that some run of the report has, ordered by name.
void AddMetricDescriptions(v1::Report* report) {
  std::set<std::string_view> names;
  for (const v1::RunReport& run : report->runs()) {
    for (const v1::MetricRollup& rollup : run.rollups()) names.insert(rollup.metric());
    for (const v1::SampleColumn& column : run.samples().columns()) names.insert(column.metric());
  }
  for (const std::string_view name : names) {
    const metrics::Metric& metric = *metrics::FindMetric(name);
    v1::MetricDescription& description = *report->add_metrics();
    description.set_name(std::string(name));
    description.set_kind(metric.kind == metrics::Kind::kGauge ? "gauge" : "counter");
    description.set_source(std::string(metric.source));
    description.set_help(std::string(metric.help));
  }
}

// The most samples a run may have, so that all of them together stay within the report's limit.
std::optional<std::uint32_t> SamplesPerRun(const ReportOptions& options, std::size_t run_count) {
  if (!options.include_samples) return std::nullopt;
  const std::size_t share = kMaxSamplesPerReport / std::max<std::size_t>(run_count, 1);
  return static_cast<std::uint32_t>(std::min<std::size_t>(options.max_samples_per_run, share));
}

// Puts the levels of each model side by side, with advice for the devices on which it was loaded.
void AddModels(const ModelLoads& loads, const v1::ModelLimits& limits, v1::Report* report) {
  for (ComparedModel& model : loads.Compare()) {
    std::vector<v1::Device> devices;
    for (const v1::Device& device : report->devices()) {
      const bool loaded = std::ranges::any_of(model.comparison.by_device(), [&device](const v1::LevelSummary& level) {
        return level.device_id() == device.device_id();
      });
      if (loaded) devices.push_back(device);
    }
    v1::ModelAdvice advice = AdviseOnLevels({.comparison = model.comparison,
                                             .load = model.load,
                                             .descriptions = model.descriptions,
                                             .devices = devices,
                                             .limits = limits});
    v1::ModelComparison& comparison = *report->add_models();
    comparison = std::move(model.comparison);
    *comparison.mutable_advice() = std::move(advice);
  }
  for (std::string& warning : loads.CacheWarnings()) report->add_warnings(std::move(warning));
}

}  // namespace

absl::StatusOr<v1::Report> BuildReport(storage::Store& store, const v1::GetReportRequest& scope,
                                       const ReportOptions& options, const base::Clock& clock) {
  if (scope.job_ids().empty() && scope.run_ids().empty()) {
    return absl::InvalidArgumentError("a report needs at least one job or run: name it by its identifier");
  }
  v1::ModelLimits limits = scope.model_limits();
  config::ApplyDefaults(&limits);
  BALLAST_RETURN_IF_ERROR(config::Validate(limits));
  BALLAST_ASSIGN_OR_RETURN(RunSelection selection,
                           SelectRuns(store, Strings(scope.job_ids()), Strings(scope.run_ids())));

  v1::Report report;
  report.set_schema_version(kSchemaVersion);
  *report.mutable_create_time() = base::ToProto(clock.Now());
  report.set_ballast_version(base::kVersion);

  std::map<std::string, std::string> device_names;
  BALLAST_ASSIGN_OR_RETURN(std::vector<v1::Device> devices, DevicesOf(store, selection.runs));
  for (v1::Device& device : devices) {
    device_names[device.device_id()] = device.facts().hostname();
    *report.add_devices() = std::move(device);
  }

  const std::optional<std::uint32_t> max_samples = SamplesPerRun(options, selection.runs.size());
  std::map<std::string, GroupAccumulator> by_device;
  std::map<std::pair<std::string, std::string>, GroupAccumulator> by_variant;  // environment, quantisation level
  GroupAccumulator overall;
  ModelLoads loads;
  CommandExecutions commands;
  InvalidRuns invalid(scope.include_invalid());
  for (v1::Run& run : selection.runs) {
    v1::RunReport& run_report = *report.add_runs();
    const std::string& name = device_names[run.device_id()];
    run_report.set_device_name(name.empty() ? run.device_id() : name);

    std::vector<v1::MetricSummary> summaries;
    if (const v1::Attempt* attempt = LastAttempt(run); attempt != nullptr) {
      BALLAST_ASSIGN_OR_RETURN(summaries, store.GetRollups(run.run_id(), attempt->attempt()));
    }
    AddRollups(summaries, &run_report);

    const std::vector<v1::Figure> figures = ComputeFigures(run, selection.JobOf(run).spec().workload(), summaries);
    run_report.mutable_figures()->Add(figures.begin(), figures.end());
    const bool left_out = invalid.LeavesOut(run);
    by_device[run.device_id()].Add(run, figures, left_out);
    if (!jobs::VariantName(run).empty()) {
      by_variant[{run.matrix_environment(), run.matrix_quant()}].Add(run, figures, left_out);
    }
    overall.Add(run, figures, left_out);
    if (!left_out) {
      loads.Add(run, selection.JobOf(run));
      commands.Add(run, selection.JobOf(run));
    }

    BALLAST_ASSIGN_OR_RETURN(RunTelemetry telemetry, ReadTelemetry(store, run, max_samples));
    if (run.workload_kind() == "stability") *run_report.mutable_soak() = BuildSoakReport(run, telemetry.cycles);
    for (v1::Event& event : telemetry.events) *run_report.add_events() = std::move(event);
    if (telemetry.samples.has_value()) *run_report.mutable_samples() = *std::move(telemetry.samples);
    for (std::string& warning : telemetry.warnings) report.add_warnings(std::move(warning));

    *run_report.mutable_run() = std::move(run);
  }
  for (v1::Job& job : selection.jobs) *report.add_jobs() = std::move(job);

  for (const auto& [device_id, group] : by_device) {
    v1::GroupSummary& summary = *report.add_by_device();
    summary = group.Summarize();
    summary.set_group(device_id);
    summary.set_title(device_names[device_id]);
    if (std::string warning = WarningIfNothingCounts(summary, "device " + device_id); !warning.empty()) {
      report.add_warnings(std::move(warning));
    }
  }
  if (by_variant.size() > 1) {
    for (const auto& [variant, group] : by_variant) {
      v1::Run of_variant;
      of_variant.set_matrix_environment(variant.first);
      of_variant.set_matrix_quant(variant.second);
      v1::GroupSummary& summary = *report.add_by_variant();
      summary = group.Summarize();
      summary.set_group(jobs::VariantName(of_variant));
      if (std::string warning = WarningIfNothingCounts(summary, "variant " + summary.group()); !warning.empty()) {
        report.add_warnings(std::move(warning));
      }
    }
  }
  *report.mutable_overall() = overall.Summarize();
  for (std::string& warning : invalid.Warnings()) report.add_warnings(std::move(warning));
  AddModels(loads, limits, &report);
  for (v1::CommandSummary& summary : commands.Summarize()) *report.add_commands() = std::move(summary);
  AddMetricDescriptions(&report);
  return report;
}

}  // namespace ballast::report
