#include "cli/run_samples.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <span>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/session.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"
#include "common/metrics/metric_table.h"
#include "common/render/csv.h"
#include "common/render/json.h"

namespace ballast::cli {
namespace {

struct SamplesFlags {
  ConnectionFlags connection;
  std::string output;
  std::string run_id;
  std::string attempt;
  std::vector<std::string> metrics;
};

absl::StatusOr<std::vector<std::string>> ParseMetrics(const std::vector<std::string>& lists) {
  std::vector<std::string> known;
  for (const metrics::Metric& metric : metrics::AllMetrics()) known.emplace_back(metric.name);
  std::vector<std::string> names;
  for (const std::string& list : lists) {
    for (const std::string& name : SplitList(list)) {
      if (metrics::FindMetric(std::string_view(name)) == nullptr) {
        const std::string near = config::DidYouMean(name, known);
        return WithNextStep(
            absl::InvalidArgumentError(
                fmt::format("--metric: there is no metric {}{}", base::Quoted(name), near.empty() ? "" : "; " + near)),
            "leave --metric out to see all of them");
      }
      names.push_back(name);
    }
  }
  return names.empty() ? known : names;
}

// Appends the samples as CSV, one column for each of `metrics` in their order; a sample without a value has an empty
// field. Lengths are not trusted: a column that is too short counts as absent beyond its end.
void AppendSamples(const v1::SampleSeries& series, std::span<const std::string> metrics, std::string* csv) {
  std::vector<const v1::SampleColumn*> columns;
  for (const std::string& metric : metrics) {
    const v1::SampleColumn* found = nullptr;
    for (const v1::SampleColumn& column : series.columns()) {
      if (column.metric() == metric) found = &column;
    }
    columns.push_back(found);
  }
  std::vector<std::string> record;
  for (int i = 0; i < series.offset_ms_size(); ++i) {
    record.assign(1, fmt::format("{}", series.offset_ms(i)));
    for (const v1::SampleColumn* column : columns) {
      const bool present = column != nullptr && i < column->values_size() && std::isfinite(column->values(i));
      record.push_back(present ? fmt::format("{}", column->values(i)) : "");
    }
    render::AppendCsvRecord(record, csv);
  }
}

absl::StatusOr<ExitCode> PrintSamples(const SamplesFlags& flags, Context& context) {
  const bool json = flags.output == "json";
  if (!json && !flags.output.empty() && flags.output != "csv") {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("--output: {} is not a form of samples", base::Quoted(flags.output))),
        "--output csv or --output json");
  }
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.run_id.empty(), "the run", "ballast runs samples RUN; ballast runs list shows them"));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> metrics, ParseMetrics(flags.metrics));
  v1::ReadSamplesRequest request;
  request.set_run_id(flags.run_id);
  std::uint32_t attempt = 0;
  if (!flags.attempt.empty()) {
    const auto [end, error] =
        std::from_chars(flags.attempt.data(), flags.attempt.data() + flags.attempt.size(), attempt);
    if (error != std::errc() || end != flags.attempt.data() + flags.attempt.size() || attempt == 0) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("--attempt: {} is not the number of an attempt",
                                                                 base::Quoted(flags.attempt))),
                          "--attempt 1");
    }
  }
  request.set_attempt(attempt);
  if (!flags.metrics.empty()) request.mutable_metrics()->Assign(metrics.begin(), metrics.end());

  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  v1::GetRunRequest run_request;
  run_request.set_run_id(flags.run_id);
  const auto run = session->Call(&v1::RunService::Stub::GetRun, run_request);
  if (!run.ok()) return WithNextStep(run.status(), "ballast runs list");
  if (run->has_samples_thinned_time()) {
    context.err << fmt::format(
        "note: the samples of {} were thinned: each row is a summary, the mean of a gauge and the last value of a "
        "counter\n",
        flags.run_id);
  }
  bool first = true;
  const auto print_heading = [&] {
    if (json || !std::exchange(first, false)) return;
    std::vector<std::string> heading = {"offset_ms"};
    heading.insert(heading.end(), metrics.begin(), metrics.end());
    std::string csv;
    render::AppendCsvRecord(heading, &csv);
    context.out << csv;
  };
  const absl::Status status =
      session->Stream(&v1::RunService::Stub::ReadSamples, request, [&](const v1::SampleSeries& series) {
        print_heading();
        if (json) {
          context.out << render::ToJson(series, {.indent_spaces = 0}) << '\n';
        } else {
          std::string csv;
          AppendSamples(series, metrics, &csv);
          context.out << csv;
        }
        // A reader that went away (`| head`) ends it; main tells that from a full disk.
        return context.out.good() ? absl::OkStatus() : absl::CancelledError("standard output is closed");
      });
  if (!context.out.good()) return ExitCode::kDone;
  if (!status.ok()) return WithNextStep(status, "ballast runs list");
  print_heading();
  return ExitCode::kDone;
}

}  // namespace

void AddRunSamplesCommand(CommandTree& tree, CLI::App* runs) {
  const auto flags = std::make_shared<SamplesFlags>();
  CLI::App* command =
      tree.Add(runs, "samples", "Every sample of a run: CSV with a row a sample, or JSON with some seconds a line.",
               {"ballast runs samples j-0123456789.1 --metric mem_available_bytes,mem_used_percent > samples.csv",
                "ballast runs samples j-0123456789.1 --output json"},
               [flags](Context& context) { return PrintSamples(*flags, context); });
  command->add_option("run", flags->run_id, "The run")->type_name("RUN");
  command->add_option("--metric", flags->metrics, "Only these metrics")->type_name("NAME")->allow_extra_args(false);
  command->add_option("--attempt", flags->attempt, "Of this attempt (default: the last)")->type_name("N");
  command->add_option("--output", flags->output, "csv or json (default csv)")->type_name("FORM");
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
