// ballast compare: groups of runs side by side.
#include <memory>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/render/comparison.h"
#include "cli/render/text_width.h"
#include "cli/report_files.h"
#include "cli/session.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

struct CompareFlags {
  ConnectionFlags connection;
  std::string output;
  std::vector<std::string> ids;
  std::string by;
  bool include_invalid = false;
};

absl::StatusOr<v1::CompareRunsRequest::Dimension> ParseDimension(const std::string& text) {
  if (text.empty() || text == "item") return v1::CompareRunsRequest::ITEM;
  if (text == "device") return v1::CompareRunsRequest::DEVICE;
  if (text == "profile") return v1::CompareRunsRequest::PROFILE;
  const std::string near = config::DidYouMean(text, {"item", "device", "profile"});
  const bool later = text == "quant" || text == "annotation";
  return WithNextStep(
      absl::InvalidArgumentError(later ? fmt::format("--by: {} is not available yet", text)
                                       : fmt::format("--by: {} is nothing to group by{}", base::Quoted(text),
                                                     near.empty() ? "" : "; " + near)),
      "--by item (each job or run that is named), --by device or --by profile");
}

absl::StatusOr<ExitCode> RunCompare(const CompareFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  v1::CompareRunsRequest request;
  BALLAST_ASSIGN_OR_RETURN(const auto dimension, ParseDimension(flags.by));
  request.set_dimension(dimension);
  request.set_include_invalid(flags.include_invalid);
  const std::size_t fewest = dimension == v1::CompareRunsRequest::ITEM ? 2 : 1;
  BALLAST_RETURN_IF_ERROR(RequireArgument(flags.ids.size() >= fewest,
                                          fewest == 2 ? "something to compare with" : "the job or run",
                                          "ballast compare BASE OTHER…, or ballast compare JOB --by device"));
  request.mutable_item_ids()->Assign(flags.ids.begin(), flags.ids.end());
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  const auto comparison = session->Call(&v1::ReportService::Stub::CompareRuns, request);
  if (absl::IsNotFound(comparison.status()))
    return WithNextStep(comparison.status(), "ballast jobs list, ballast runs list");
  BALLAST_RETURN_IF_ERROR(comparison.status());
  switch (output) {
    case OutputFormat::kTable:
      context.out << ComparisonTable(*comparison, TableWidth(context));
      break;
    case OutputFormat::kJson:
      PrintJson(*comparison, context);
      break;
    case OutputFormat::kCsv:
      context.out << ComparisonCsv(*comparison);
      break;
  }
  for (const std::string& warning : comparison->warnings()) {
    context.err << fmt::format("warning: {}\n", Printable(warning));
  }
  return ExitCode::kDone;
}

}  // namespace

void AddCompareCommand(CommandTree& tree) {
  const auto flags = std::make_shared<CompareFlags>();
  CLI::App* command =
      tree.Add(nullptr, "compare", "Put jobs, runs or devices side by side; the first is the base of the changes.",
               {"ballast compare j-0123456789 j-9876543210", "ballast compare j-0123456789 --by device",
                "ballast compare j-0123456789 j-9876543210 --by profile",
                "ballast compare j-0123456789.1 j-0123456789.2 --output csv"},
               [flags](Context& context) { return RunCompare(*flags, context); });
  command->add_option("ids", flags->ids, "Jobs and runs; the first is the base")->type_name("BASE OTHER");
  command->add_option("--by", flags->by, "What makes a group: item, device or profile (default item)")
      ->type_name("WHAT");
  AddOutputFlag(command, &flags->output);
  AddIncludeInvalidFlag(command, &flags->include_invalid);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
