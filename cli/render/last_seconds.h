// The evidence's last seconds, for people.
#pragma once

#include <string>

#include "ballast/v1/telemetry.pb.h"

namespace ballast::cli {

// A table with a line for the last sample and one for each second before it: memory in use and available, what was held
// and how much of that in swap, stalls, free swap, and how many pages a second were swapped in, came back soon after
// they were dropped, and had to be waited for. Columns without any value are left out; empty where there is no sample.
// Lines end with a newline.
[[nodiscard]] std::string LastSecondsTable(const v1::SampleSeries& samples);

}  // namespace ballast::cli
