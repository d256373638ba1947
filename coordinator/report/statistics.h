// What a handful of values has in common.
#pragma once

#include <vector>

#include "ballast/v1/report.pb.h"

namespace ballast::report {

// n, min, median, p95 and max of finite values in any order, as report.proto defines them. All zero where there are no
// values. The name is left empty.
[[nodiscard]] v1::FigureStatistics ComputeStatistics(std::vector<double> values);

}  // namespace ballast::report
