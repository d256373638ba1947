// Comparisons for people and as CSV.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "ballast/v1/report.pb.h"

namespace ballast::cli {

// The outcomes of those runs of a group that count, as k of n, and how many were left out.
[[nodiscard]] std::string OutcomesText(const v1::GroupSummary& group);

// Groups with their outcomes as k of n, then a row a figure: medians side by side with n, and their change against the
// base. Whether a change is more than noise is not for this table to say.
[[nodiscard]] std::string ComparisonTable(const v1::Comparison& comparison, std::optional<std::size_t> max_columns);

// A record a figure and group: figure, group, n, median, change_percent, and p_value where any cell has one. Outcomes
// are figures `outcome:KIND` with the count as median.
[[nodiscard]] std::string ComparisonCsv(const v1::Comparison& comparison);

}  // namespace ballast::cli
