#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/jobs/variant.h"
#include "common/render/csv.h"
#include "common/render/scalar_text.h"
#include "coordinator/report/csv_cells.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/invalid_runs.h"
#include "coordinator/report/report.h"
#include "fmt/format.h"

namespace ballast::report {
namespace {

// Columns before the figures. docs/reports.md explains each one.
constexpr std::string_view kLeadingColumns[] = {
    "job_id",      "run_id",     "display_name",  "device_id",     "device_name",
    "environment", "repetition", "attempt_count", "workload_kind", "workload_mode",
    "state",       "outcome",    "message",       "start_time",    "end_time",
};
// Columns after the figures.
constexpr std::string_view kTrailingColumns[] = {"annotations", "valid", "invalid_reasons", "environment_memory_bytes",
                                                "environment_swap_bytes", "matrix_quant"};

// `key=value` joined by semicolons, ordered by key; a backslash before every `=`, `;` and backslash inside.
std::string AnnotationsText(const google::protobuf::Map<std::string, std::string>& annotations) {
  const auto append_escaped = [](std::string_view text, std::string* out) {
    for (const char c : text) {
      if (c == '=' || c == ';' || c == '\\') *out += '\\';
      *out += c;
    }
  };
  std::string text;
  for (const auto& [key, value] : std::map<std::string, std::string>(annotations.begin(), annotations.end())) {
    if (!text.empty()) text += ';';
    append_escaped(key, &text);
    text += '=';
    append_escaped(value, &text);
  }
  return text;
}

std::vector<std::string> Header() {
  std::vector<std::string> header(std::begin(kLeadingColumns), std::end(kLeadingColumns));
  for (const FigureDefinition& figure : AllFigures()) header.emplace_back(figure.name);
  header.insert(header.end(), std::begin(kTrailingColumns), std::end(kTrailingColumns));
  return header;
}

std::vector<std::string> Row(const v1::RunReport& report, const v1::JobSpec& spec) {
  const v1::Run& run = report.run();
  std::vector<std::string> row = {
      run.job_id(),
      run.run_id(),
      spec.display_name(),
      run.device_id(),
      report.device_name(),
      spec.environment(),
      fmt::format("{}", run.repetition()),
      fmt::format("{}", run.attempts_size()),
      run.workload_kind(),
      PressureMode(spec.workload()),
      EnumCell(run.state()),
      EnumCell(run.outcome().kind()),
      run.outcome().message(),
      run.has_start_time() ? render::TimeText(run.start_time()) : std::string(),
      run.has_end_time() ? render::TimeText(run.end_time()) : std::string(),
  };
  for (const FigureDefinition& definition : AllFigures()) {
    const auto figure = std::ranges::find(report.figures(), definition.name, &v1::Figure::name);
    row.push_back(figure == report.figures().end() ? std::string() : render::NumberText(figure->value()));
  }
  row.push_back(AnnotationsText(run.annotations()));
  row.push_back(ValidCell(run));
  row.push_back(fmt::format("{}", fmt::join(InvalidReasons(run), "; ")));
  const v1::Attempt* const attempt = LastAttempt(run);
  const bool applied = attempt != nullptr && attempt->result().has_environment();
  row.push_back(applied ? fmt::format("{}", attempt->result().environment().memory_bytes()) : std::string());
  row.push_back(applied ? fmt::format("{}", attempt->result().environment().swap_bytes()) : std::string());
  row.push_back(run.matrix_quant());
  return row;
}

}  // namespace

std::string ReportToCsv(const v1::Report& report) {
  std::map<std::string_view, const v1::JobSpec*> specs;
  for (const v1::Job& job : report.jobs()) specs[job.job_id()] = &job.spec();

  std::string csv = render::kUtf8ByteOrderMark;
  render::AppendCsvRecord(Header(), &csv);
  for (const v1::RunReport& run : report.runs()) {
    const auto spec = specs.find(run.run().job_id());
    render::AppendCsvRecord(Row(run, spec == specs.end() ? v1::JobSpec() : jobs::SpecOf(*spec->second, run.run())), &csv);
  }
  return csv;
}

}  // namespace ballast::report
