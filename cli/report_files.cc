#include "cli/report_files.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "cli/render/command_tables.h"
#include "cli/render/environment_fields.h"
#include "cli/render/model_tables.h"
#include "cli/render/records.h"
#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "cli/render/variant_table.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

absl::Status FileError(const absl::Status& status) {
  // The codes of the file system mean something else on a command line: a missing directory is not a missing job.
  return WithNextStep(
      absl::InternalError(fmt::format("the report cannot be written: {}", std::string(status.message()))),
      "--output-dir with a directory that can be written");
}

// Names come from the coordinator: nothing in them may lead out of the directory.
std::string SafeStem(const std::string& stem) {
  std::string safe = stem;
  for (char& c : safe) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.' && c != '_') c = '_';
  }
  while (safe.starts_with('.')) safe.erase(0, 1);
  return safe.empty() ? "report" : safe;
}

v1::ExportReportRequest ExportRequest(const v1::GetReportRequest& scope, ReportFormat format) {
  v1::ExportReportRequest request;
  *request.mutable_scope() = scope;
  request.set_format(format);
  return request;
}

// A file that is written, and what stands behind the report's name in its own.
struct ReportFile {
  ReportFormat format;
  const char* suffix;
};

std::vector<ReportFile> FilesOf(ReportFormat format) {
  if (format == v1::ExportReportRequest::JSON) return {{format, ".json"}};
  return {{v1::ExportReportRequest::CSV, ".csv"},
          {v1::ExportReportRequest::CSV_LOADS, "-loads.csv"},
          {v1::ExportReportRequest::CSV_COMMANDS, "-commands.csv"}};
}

absl::Status ExplainMissing(const absl::Status& status) {
  return absl::IsNotFound(status) ? WithNextStep(status, "ballast jobs list, ballast runs list") : status;
}

// Ordered by job, then by number, so that run 10 comes after run 2.
std::vector<const v1::RunReport*> OrderedRuns(const v1::Report& report) {
  std::vector<const v1::RunReport*> runs;
  for (const v1::RunReport& entry : report.runs()) runs.push_back(&entry);
  // Numbers have no leading zeros: the longer one is the larger one.
  const auto key = [](const v1::RunReport* entry) {
    const std::string& id = entry->run().run_id();
    return std::tuple(std::string_view(id).substr(0, id.find('.')), id.size(), std::string_view(id));
  };
  std::sort(runs.begin(), runs.end(),
            [&key](const v1::RunReport* a, const v1::RunReport* b) { return key(a) < key(b); });
  return runs;
}

// Names that more than one device has: they tell nobody which one it was.
std::set<std::string> AmbiguousNames(const v1::Report& report) {
  std::map<std::string, std::string> device_of;
  std::set<std::string> ambiguous;
  for (const v1::RunReport& entry : report.runs()) {
    const auto [known, added] = device_of.emplace(entry.device_name(), entry.run().device_id());
    if (!added && known->second != entry.run().device_id()) ambiguous.insert(entry.device_name());
  }
  return ambiguous;
}

std::string DeviceText(const v1::RunReport& entry, const std::set<std::string>& ambiguous) {
  if (entry.device_name().empty()) return entry.run().device_id();
  if (!ambiguous.contains(entry.device_name())) return entry.device_name();
  return fmt::format("{} ({})", entry.device_name(), entry.run().device_id());
}

std::string ValidText(const v1::Run& run) {
  if (run.attempts().empty()) return "-";
  const v1::RunResult& result = run.attempts(run.attempts_size() - 1).result();
  if (!result.has_validity()) return "-";
  return result.validity().valid() ? "yes" : "no";
}

std::string FigureOf(const v1::RunReport& report, const std::string& name) {
  const auto found = std::find_if(report.figures().begin(), report.figures().end(),
                                  [&](const v1::Figure& f) { return f.name() == name; });
  return found == report.figures().end() ? "-" : FigureText(name, found->value());
}

}  // namespace

absl::StatusOr<std::vector<ReportFormat>> ParseReportFormats(const std::string& text) {
  std::vector<ReportFormat> formats;
  for (const std::string& name : SplitList(text)) {
    if (name == "json") {
      formats.push_back(v1::ExportReportRequest::JSON);
    } else if (name == "csv") {
      formats.push_back(v1::ExportReportRequest::CSV);
    } else {
      const std::string near = config::DidYouMean(name, {"json", "csv"});
      return WithNextStep(
          absl::InvalidArgumentError(name == "html" ? "--format: html is not available yet"
                                                    : fmt::format("--format: {} is not a format{}", base::Quoted(name),
                                                                  near.empty() ? "" : "; " + near)),
          "--format json, --format csv or --format json,csv");
    }
  }
  if (formats.empty())
    return WithNextStep(absl::InvalidArgumentError("--format: no format is named"), "--format json,csv");
  return formats;
}

void AddIncludeInvalidFlag(CLI::App* command, bool* include_invalid) {
  command->add_flag("--include-invalid", *include_invalid, "Count invalid runs in the statistics too")
      ->group("Results");
}

v1::GetReportRequest ReportScope(const std::vector<std::string>& ids, bool include_invalid) {
  v1::GetReportRequest scope;
  scope.set_include_invalid(include_invalid);
  for (const std::string& id : ids) {
    if (id.find('.') == std::string::npos) {
      scope.add_job_ids(id);
    } else {
      scope.add_run_ids(id);
    }
  }
  return scope;
}

absl::Status PrepareReportDirectory(const std::filesystem::path& directory) {
  const absl::Status status = base::EnsureWritableDirectory(directory);
  return status.ok() ? status : FileError(status);
}

absl::Status WriteReportFiles(const v1::GetReportRequest& scope, const std::vector<ReportFormat>& formats,
                              const std::filesystem::path& directory, const std::string& stem, Session& session,
                              Context& context) {
  BALLAST_RETURN_IF_ERROR(PrepareReportDirectory(directory));
  for (const ReportFormat format : formats) {
    for (const ReportFile& file : FilesOf(format)) {
      std::string content;
      const absl::Status status =
          session.Stream(&v1::ReportService::Stub::ExportReport, ExportRequest(scope, file.format),
                         [&content](const v1::ExportPiece& piece) {
                           content += piece.content();
                           return absl::OkStatus();
                         });
      if (!status.ok()) return ExplainMissing(status);
      // A report without loads, or executions, has no table of them.
      if (content.empty()) continue;
      const std::filesystem::path path = directory / (SafeStem(stem) + file.suffix);
      if (const absl::Status written = base::WriteFileAtomically(path, content); !written.ok())
        return FileError(written);
      context.err << fmt::format("report: {}\n", path.string()) << std::flush;
    }
  }
  return absl::OkStatus();
}

absl::Status PrintReport(const v1::GetReportRequest& scope, ReportFormat format, Session& session, Context& context) {
  return ExplainMissing(session.Stream(&v1::ReportService::Stub::ExportReport, ExportRequest(scope, format),
                                       [&context](const v1::ExportPiece& piece) {
                                         context.out << piece.content();
                                         return absl::OkStatus();
                                       }));
}

absl::Status PrintReportTable(const v1::GetReportRequest& scope, Session& session, Context& context) {
  const auto called = session.Call(&v1::ReportService::Stub::GetReport, scope);
  if (!called.ok()) return ExplainMissing(called.status());
  const v1::Report& report = *called;
  Table runs({{"RUN"},
              {"DEVICE"},
              {"OUTCOME"},
              {"VALID"},
              {"TIME", Align::kRight},
              {"PEAK HELD", Align::kRight},
              {"PEAK RESIDENT", Align::kRight},
              {"TO TARGET", Align::kRight},
              {"FILL RATE", Align::kRight}});
  const std::vector<const v1::RunReport*> ordered = OrderedRuns(report);
  const std::set<std::string> ambiguous = AmbiguousNames(report);
  for (const v1::RunReport* listed : ordered) {
    const v1::RunReport& entry = *listed;
    const v1::Run& run = entry.run();
    const bool ended = run.state() == v1::Run::ENDED;
    std::string time = "-";
    if (run.has_start_time() && run.has_end_time()) {
      time = base::FormatDuration(base::FromProto(run.end_time()) - base::FromProto(run.start_time()));
    }
    runs.AddRow({run.run_id(), DeviceText(entry, ambiguous),
                 ended ? v1::OutcomeKind_Name(run.outcome().kind()) : v1::Run::State_Name(run.state()), ValidText(run),
                 time, FigureOf(entry, "peak_held_bytes"), FigureOf(entry, "peak_resident_bytes"),
                 FigureOf(entry, "time_to_target_seconds"), FigureOf(entry, "fill_bytes_per_second")});
  }
  context.out << runs.Format(TableWidth(context));
  if (report.runs_size() > 1) {
    Table figures({{"FIGURE"},
                   {"N", Align::kRight},
                   {"MIN", Align::kRight},
                   {"MEDIAN", Align::kRight},
                   {"P95", Align::kRight},
                   {"MAX", Align::kRight}});
    for (const v1::FigureStatistics& figure : report.overall().figures()) {
      const auto text = [&figure](double value) { return FigureText(figure.name(), value); };
      figures.AddRow({figure.name(), std::to_string(figure.n()), text(figure.min()), text(figure.median()),
                      text(figure.p95()), text(figure.max())});
    }
    if (!figures.empty()) context.out << '\n' << figures.Format(TableWidth(context));
    const std::uint32_t left_out = report.overall().invalid_run_count();
    const std::string outcomes = OutcomeCounts(report.overall().outcomes());
    context.out << fmt::format(
        "\n{} runs: {}{}\n", report.overall().run_count(), outcomes,
        left_out == 0 ? "" : fmt::format("{}({} invalid, left out)", outcomes.empty() ? "" : " ", left_out));
  }
  const std::string variants = VariantTable(report, TableWidth(context));
  if (!variants.empty()) context.out << '\n' << variants;
  if (const std::string executions = ExecutionTable(ordered, TableWidth(context)); !executions.empty()) {
    context.out << '\n' << executions << SurvivalText(report);
  }
  for (const v1::ModelComparison& model : report.models()) {
    context.out << '\n' << LevelTable(model, report, TableWidth(context)) << AdviceText(model.advice());
  }
  for (const v1::RunReport* entry : ordered) {
    if (entry->has_soak()) context.out << '\n' << SoakText(entry->run().run_id(), entry->soak(), TableWidth(context));
  }
  std::string notes;
  for (const v1::RunReport* entry : ordered) {
    const v1::Outcome& outcome = entry->run().outcome();
    if (outcome.kind() == v1::COMPLETED || outcome.message().empty()) continue;
    notes += fmt::format("{}: {}\n", Printable(entry->run().run_id()), Printable(outcome.message()));
  }
  notes += AppliedEnvironments(ordered);
  // Behind a table of variants they would look like its rows.
  if (!variants.empty() && !notes.empty()) context.out << '\n';
  context.out << notes;
  for (const std::string& warning : report.warnings()) context.err << fmt::format("warning: {}\n", Printable(warning));
  return absl::OkStatus();
}

absl::Status PrintFailedOutput(const v1::GetReportRequest& scope, Session& session, Context& context) {
  const auto report = session.Call(&v1::ReportService::Stub::GetReport, scope);
  if (!report.ok()) return ExplainMissing(report.status());
  for (const v1::RunReport* entry : OrderedRuns(*report)) context.err << FailedOutputText(entry->run());
  context.err << std::flush;
  return absl::OkStatus();
}

}  // namespace ballast::cli
