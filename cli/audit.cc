// ballast audit: who did what.
#include <memory>
#include <string>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/paging.h"
#include "cli/render/list_fields.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

struct AuditFlags {
  ConnectionFlags connection;
  std::string output;
  std::string limit;
  std::string name;
};

absl::StatusOr<ExitCode> ListAudit(const AuditFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t limit, ParseLimit(flags.limit));
  v1::ListAuditEntriesRequest request;
  request.set_name(flags.name);
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListAuditEntriesResponse response,
                           ListPages(&v1::AdminService::Stub::ListAuditEntries, request,
                                     &v1::ListAuditEntriesResponse::mutable_entries, limit, *session, context));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.entries(), AuditFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddAuditCommand(CommandTree& tree) {
  const auto flags = std::make_shared<AuditFlags>();
  CLI::App* command = tree.Add(
      nullptr, "audit", "The audit log, latest first: who changed what, and who was refused what.",
      {"ballast audit", "ballast audit --name kim --limit 0 --output csv > audit.csv", "ballast audit --output json"},
      [flags](Context& context) { return ListAudit(*flags, context); });
  command->add_option("--name", flags->name, "Of this user or device only")->type_name("NAME");
  command->add_option("--limit", flags->limit, fmt::format("Most entries, 0 for all (default {})", kDefaultLimit))
      ->type_name("N");
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
