// The key figures of a run: the few numbers that tell how it went, for tables, statistics and comparisons.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::report {

struct FigureInputs;

// One key figure. docs/reports.md explains each one.
struct FigureDefinition {
  std::string_view name;  // with its unit as suffix
  v1::ComparisonRow::Direction direction;
  std::optional<double> (*compute)(const FigureInputs&);
};

// Every key figure there is, ordered by name.
[[nodiscard]] std::span<const FigureDefinition> AllFigures();

// The key figures of a run's last attempt, ordered by name; those that do not apply or are not known, and values that
// are not finite, are left out. `workload` is its job's; `rollups` are the last attempt's, as stored.
[[nodiscard]] std::vector<v1::Figure> ComputeFigures(const v1::Run& run, const v1::Workload& workload,
                                                     std::span<const v1::MetricSummary> rollups);

// The last attempt; null where there is none.
[[nodiscard]] const v1::Attempt* LastAttempt(const v1::Run& run);

}  // namespace ballast::report
