#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/jobs/variant.h"
#include "common/render/csv.h"
#include "common/render/scalar_text.h"
#include "coordinator/report/commands.h"
#include "coordinator/report/csv_cells.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/report.h"

namespace ballast::report {
namespace {

// Columns before the figures. docs/reports.md explains each one.
constexpr std::string_view kLeadingColumns[] = {
    "job_id",     "run_id",    "display_name", "device_id",     "device_name", "environment", "workload_mode",
    "repetition", "execution", "command_id",   "argv",          "outcome",     "message",     "killer",
    "exit_code",  "signal",    "scope",        "start_seconds", "end_seconds",
};
// Columns after the figures.
constexpr std::string_view kTrailingColumns[] = {"valid"};

std::vector<std::string> Header() {
  std::vector<std::string> header(std::begin(kLeadingColumns), std::end(kLeadingColumns));
  for (const CommandFigureDefinition& figure : AllCommandFigures()) header.emplace_back(figure.name);
  header.insert(header.end(), std::begin(kTrailingColumns), std::end(kTrailingColumns));
  return header;
}

std::string SecondsCell(bool known, const google::protobuf::Duration& duration) {
  return known ? render::NumberText(base::ToSeconds(base::FromProto(duration))) : std::string();
}

// Arguments in one cell: separated by blanks, a backslash before each blank and backslash inside.
std::string ArgvCell(const v1::CommandResult& command) {
  std::string cell;
  for (const std::string& argument : command.argv()) {
    if (&argument != &command.argv(0)) cell += ' ';
    for (const char c : argument) {
      if (c == ' ' || c == '\\') cell += '\\';
      cell += c;
    }
  }
  return cell;
}

std::vector<std::string> Row(const v1::RunReport& report, const v1::JobSpec& spec, const v1::CommandResult& command) {
  const v1::Run& run = report.run();
  const v1::Evidence& evidence = command.outcome().evidence();
  const bool exited = command.has_end_offset() && evidence.signal() == 0 && command.outcome().kind() != v1::INVALID;
  std::vector<std::string> row = {
      run.job_id(),
      run.run_id(),
      spec.display_name(),
      run.device_id(),
      report.device_name(),
      spec.environment(),
      PressureMode(spec.workload()),
      fmt::format("{}", run.repetition()),
      fmt::format("{}", command.index()),
      command.command_id(),
      ArgvCell(command),
      EnumCell(command.outcome().kind()),
      command.outcome().message(),
      EnumCell(evidence.killer()),
      exited ? fmt::format("{}", evidence.exit_code()) : std::string(),
      evidence.signal() != 0 ? fmt::format("{}", evidence.signal()) : std::string(),
      EnumCell(command.scope()),
      SecondsCell(command.has_start_offset(), command.start_offset()),
      SecondsCell(command.has_end_offset(), command.end_offset()),
  };
  const std::vector<v1::Figure> figures = ComputeCommandFigures(command);
  for (const CommandFigureDefinition& definition : AllCommandFigures()) {
    const auto figure = std::ranges::find(figures, definition.name, &v1::Figure::name);
    row.push_back(figure == figures.end() ? std::string() : render::NumberText(figure->value()));
  }
  row.push_back(ValidCell(run));
  return row;
}

}  // namespace

std::string CommandsToCsv(const v1::Report& report) {
  std::map<std::string_view, const v1::JobSpec*> specs;
  for (const v1::Job& job : report.jobs()) specs[job.job_id()] = &job.spec();

  std::string csv;
  for (const v1::RunReport& run : report.runs()) {
    const v1::Attempt* attempt = LastAttempt(run.run());
    if (attempt == nullptr) continue;
    const auto spec = specs.find(run.run().job_id());
    for (const v1::CommandResult& command : attempt->result().commands()) {
      if (csv.empty()) {
        csv = render::kUtf8ByteOrderMark;
        render::AppendCsvRecord(Header(), &csv);
      }
      render::AppendCsvRecord(Row(run, spec == specs.end() ? v1::JobSpec() : jobs::SpecOf(*spec->second, run.run()), command),
                              &csv);
    }
  }
  return csv;
}

}  // namespace ballast::report
