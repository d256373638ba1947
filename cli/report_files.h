// Reports of a coordinator, into files or onto standard output.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "cli/context.h"
#include "cli/session.h"

namespace ballast::cli {

// Where reports go unless a flag says otherwise, below the current directory.
inline constexpr char kDefaultReportDirectory[] = "logs/memory_tests";

using ReportFormat = v1::ExportReportRequest::Format;

// Formats from `json,csv`. INVALID_ARGUMENT names --format, what there is, and what is not available yet.
[[nodiscard]] absl::StatusOr<std::vector<ReportFormat>> ParseReportFormats(const std::string& text);

// Jobs and runs by their identifiers: a run's has a dot. `include_invalid` as --include-invalid says.
[[nodiscard]] v1::GetReportRequest ReportScope(const std::vector<std::string>& ids, bool include_invalid);

// --include-invalid: whether runs that are not valid count in statistics.
void AddIncludeInvalidFlag(CLI::App* command, bool* include_invalid);

// Writes a report in each format as `STEM.json`, `STEM.csv` (and `STEM-loads.csv`, where models were loaded), whole
// files only (temporary file and rename), and says on `context.err` where they lie. The directory is created. Codes of
// the call, and of the file system as INTERNAL.
[[nodiscard]] absl::Status WriteReportFiles(const v1::GetReportRequest& scope, const std::vector<ReportFormat>& formats,
                                            const std::filesystem::path& directory, const std::string& stem,
                                            Session& session, Context& context);

// Makes sure that reports can be written there, before anything else is done.
[[nodiscard]] absl::Status PrepareReportDirectory(const std::filesystem::path& directory);

// Prints a report on `context.out` as it arrives.
[[nodiscard]] absl::Status PrintReport(const v1::GetReportRequest& scope, ReportFormat format, Session& session,
                                       Context& context);

// Prints a report's runs, ordered by identifier, and figures as tables for people, and what is missing from it on
// `context.err`.
[[nodiscard]] absl::Status PrintReportTable(const v1::GetReportRequest& scope, Session& session, Context& context);

// Prints, on `context.err`, the end of what programs under test wrote where they did not complete.
[[nodiscard]] absl::Status PrintFailedOutput(const v1::GetReportRequest& scope, Session& session, Context& context);

}  // namespace ballast::cli
