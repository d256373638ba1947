// The variants of matrix jobs, for people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "ballast/v1/report.pb.h"

namespace ballast::cli {

// A row a variant: its runs, their outcomes as k of n, and the medians of a few figures, as far as any variant has
// them. Empty where the report has no variants.
[[nodiscard]] std::string VariantTable(const v1::Report& report, std::optional<std::size_t> max_columns);

}  // namespace ballast::cli
