// Reports and comparisons from what is stored, and the formats they are exported in.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/report.pb.h"
#include "common/base/clock.h"
#include "storage/store.h"

namespace ballast::report {

// The version of the JSON form of Report and Comparison. Rises when a field changes its meaning or goes away, not when
// one is added.
inline constexpr std::uint32_t kSchemaVersion = 1;

// Most samples that all runs of a report have together: about 200 MB while a report is made and printed, whatever it is
// asked to cover.
inline constexpr std::uint32_t kMaxSamplesPerReport = 200'000;

struct ReportOptions {
  bool include_samples = false;
  // Longer runs are thinned evenly to at most so many samples (at least 2: the first and the last), and further where
  // kMaxSamplesPerReport is shared by many runs. SampleSeries.stride tells.
  std::uint32_t max_samples_per_run = 20'000;
};

// A report over jobs and runs. NOT_FOUND names what does not exist; INVALID_ARGUMENT when nothing is named; codes of
// the store. What cannot be read of a run's telemetry is named in Report.warnings and does not fail the report.
// Thread-safe; reads only.
[[nodiscard]] absl::StatusOr<v1::Report> BuildReport(storage::Store& store, const v1::GetReportRequest& scope,
                                                     const ReportOptions& options, const base::Clock& clock);

// Groups of runs side by side; DIMENSION_UNSPECIFIED is taken as ITEM, and an item that is named twice counts once.
// NOT_FOUND names what does not exist; INVALID_ARGUMENT when fewer than two groups result. Thread-safe; reads only.
[[nodiscard]] absl::StatusOr<v1::Comparison> BuildComparison(storage::Store& store,
                                                             const v1::CompareRunsRequest& request,
                                                             const base::Clock& clock);

// A report as CSV: a row a run, the columns of docs/reports.md; RFC 4180 (CRLF), UTF-8 with byte order mark. JSON is
// common/render's business: render::ToJson(report).
[[nodiscard]] std::string ReportToCsv(const v1::Report& report);

// The loads of models in a report as CSV: a row a load, likewise. Empty where there are none, without the headings.
[[nodiscard]] std::string LoadsToCsv(const v1::Report& report);

// The executions of programs under test in a report as CSV: a row an execution, likewise.
[[nodiscard]] std::string CommandsToCsv(const v1::Report& report);

}  // namespace ballast::report
