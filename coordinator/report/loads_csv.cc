#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/jobs/variant.h"
#include "common/render/csv.h"
#include "common/render/scalar_text.h"
#include "coordinator/report/csv_cells.h"
#include "coordinator/report/loads.h"
#include "coordinator/report/report.h"

namespace ballast::report {
namespace {

// Columns before the figures. docs/reports.md explains each one.
constexpr std::string_view kLeadingColumns[] = {
    "job_id",     "run_id",      "display_name", "device_id",       "device_name", "workload_kind",  "workload_mode",
    "repetition", "attempt",     "load",         "cycle",           "model_id",    "quant",          "load_repetition",
    "runtime",    "loader",      "lock",         "asked_cache",     "found_cache", "cached_percent", "outcome",
    "message",    "killer",      "stages",       "start_seconds",   "end_seconds", "file_bytes",     "weight_bytes",
    "threads",    "file_source", "checksum",     "runtime_version",
};
// Columns after the figures.
constexpr std::string_view kTrailingColumns[] = {"estimated_required_bytes", "estimated_resident_bytes", "valid"};

std::vector<std::string> Header() {
  std::vector<std::string> header(std::begin(kLeadingColumns), std::end(kLeadingColumns));
  for (const LoadFigureDefinition& figure : AllLoadFigures()) header.emplace_back(figure.name);
  header.insert(header.end(), std::begin(kTrailingColumns), std::end(kTrailingColumns));
  return header;
}

// Empty for zero, which stands for what is not known or does not apply.
std::string CountCell(std::uint64_t count) {
  return count == 0 ? std::string() : fmt::format("{}", count);
}

std::string SecondsCell(bool known, const google::protobuf::Duration& duration) {
  return known ? render::NumberText(base::ToSeconds(base::FromProto(duration))) : std::string();
}

// The stages that ended, in order: what is missing at the end is where the load was when it died.
std::string StagesCell(const v1::ModelLoadResult& load) {
  std::string text;
  for (const v1::LoadStage& stage : load.stages()) {
    text += fmt::format("{}{}", text.empty() ? "" : ";", EnumCell(stage.kind()));
  }
  return text;
}

std::vector<std::string> Row(const v1::RunReport& report, const v1::JobSpec& spec, const LoadOfRun& entry) {
  const v1::Run& run = report.run();
  const v1::ModelLoadResult& load = *entry.load;
  std::vector<std::string> row = {
      run.job_id(),
      run.run_id(),
      spec.display_name(),
      run.device_id(),
      report.device_name(),
      run.workload_kind(),
      PressureMode(spec.workload()),
      CountCell(run.repetition()),
      CountCell(entry.attempt),
      CountCell(load.index()),
      CountCell(load.cycle()),
      load.model_id(),
      load.quant(),
      CountCell(load.repetition()),
      EnumCell(load.runtime()),
      EnumCell(load.loader()),
      load.lock() ? "true" : "false",
      EnumCell(load.asked_cache()),
      EnumCell(load.found_cache()),
      load.file_bytes() == 0 ? std::string() : render::NumberText(load.cached_percent()),
      EnumCell(load.outcome().kind()),
      load.outcome().message(),
      EnumCell(load.outcome().evidence().killer()),
      StagesCell(load),
      SecondsCell(load.has_start_offset(), load.start_offset()),
      SecondsCell(load.has_end_offset(), load.end_offset()),
      CountCell(load.file_bytes()),
      CountCell(load.weight_bytes()),
      CountCell(load.threads()),
      load.file_source(),
      // In hexadecimal: spreadsheets round numbers of this size.
      load.checksum() == 0 ? std::string() : fmt::format("0x{:016x}", load.checksum()),
      load.runtime_figures().version(),
  };
  const std::vector<v1::Figure> figures = ComputeLoadFigures(load);
  for (const LoadFigureDefinition& definition : AllLoadFigures()) {
    const auto figure = std::ranges::find(figures, definition.name, &v1::Figure::name);
    row.push_back(figure == figures.end() ? std::string() : render::NumberText(figure->value()));
  }
  row.push_back(CountCell(load.estimate().required_bytes()));
  row.push_back(CountCell(load.estimate().resident_bytes()));
  row.push_back(ValidCell(run));
  return row;
}

}  // namespace

std::string LoadsToCsv(const v1::Report& report) {
  std::map<std::string_view, const v1::JobSpec*> specs;
  for (const v1::Job& job : report.jobs()) specs[job.job_id()] = &job.spec();

  std::string csv;
  for (const v1::RunReport& run : report.runs()) {
    const auto spec = specs.find(run.run().job_id());
    for (const LoadOfRun& load : LoadsOf(run.run())) {
      if (csv.empty()) {
        csv = render::kUtf8ByteOrderMark;
        render::AppendCsvRecord(Header(), &csv);
      }
      render::AppendCsvRecord(Row(run, spec == specs.end() ? v1::JobSpec() : jobs::SpecOf(*spec->second, run.run()), load),
                              &csv);
    }
  }
  return csv;
}

}  // namespace ballast::report
