// ballast report: files and tables over jobs and runs.
#include <memory>

#include "cli/commands.h"
#include "cli/model_limit_flags.h"
#include "cli/report_files.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct ReportFlags {
  ConnectionFlags connection;
  std::string output;
  std::vector<std::string> ids;
  std::string formats;
  std::string output_directory;
  bool include_invalid = false;
  ModelLimitFlags limits;
};

// A name for the files: the identifier, or the first and how many more.
std::string FileStem(const std::vector<std::string>& ids) {
  return ids.size() == 1 ? ids.front() : fmt::format("{}-and-{}-more", ids.front(), ids.size() - 1);
}

absl::StatusOr<ExitCode> RunReport(const ReportFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const auto formats, ParseReportFormats(flags.formats.empty() ? "json,csv" : flags.formats));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.ids.empty(), "the job or run", "ballast report JOB; ballast jobs list shows them"));
  v1::GetReportRequest scope = ReportScope(flags.ids, flags.include_invalid);
  if (flags.limits.any()) BALLAST_RETURN_IF_ERROR(FillModelLimits(flags.limits, scope.mutable_model_limits()));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  switch (output) {
    case OutputFormat::kTable:
      BALLAST_RETURN_IF_ERROR(PrintReportTable(scope, *session, context));
      break;
    case OutputFormat::kJson:
      BALLAST_RETURN_IF_ERROR(PrintReport(scope, v1::ExportReportRequest::JSON, *session, context));
      break;
    case OutputFormat::kCsv:
      BALLAST_RETURN_IF_ERROR(PrintReport(scope, v1::ExportReportRequest::CSV, *session, context));
      break;
  }
  // Whoever takes the report from standard output gets files only on request.
  if (output == OutputFormat::kTable || !flags.formats.empty() || !flags.output_directory.empty()) {
    const std::string directory = flags.output_directory.empty() ? kDefaultReportDirectory : flags.output_directory;
    BALLAST_RETURN_IF_ERROR(WriteReportFiles(scope, formats, directory, FileStem(flags.ids), *session, context));
  }
  return ExitCode::kDone;
}

}  // namespace

void AddReportCommand(CommandTree& tree) {
  const auto flags = std::make_shared<ReportFlags>();
  CLI::App* command =
      tree.Add(nullptr, "report", "Print the results of jobs and runs, and write them to files.",
               {"ballast report j-0123456789", "ballast report j-0123456789 j-9876543210 --format csv --output-dir out",
                "ballast report j-0123456789.1 --output json", "ballast report j-0123456789 --include-invalid",
                "ballast report j-0123456789 --max-load 30s --devices 80%"},
               [flags](Context& context) { return RunReport(*flags, context); });
  command->add_option("ids", flags->ids, "Jobs and runs")->type_name("JOB|RUN");
  command->add_option("--format", flags->formats, "Files to write: json, csv (default json,csv)")->type_name("FORMAT");
  command
      ->add_option("--output-dir", flags->output_directory,
                   fmt::format("Where to write them (default {})", kDefaultReportDirectory))
      ->type_name("DIR");
  AddOutputFlag(command, &flags->output);
  AddIncludeInvalidFlag(command, &flags->include_invalid);
  AddModelLimitFlags(command, &flags->limits);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
