// What became of loads of models, and of soaks, as people read it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "ballast/v1/report.pb.h"

namespace ballast::cli {

// The levels of a model, with medians over the loads that survived: over all devices, and by device where there are
// several. Of a level that no load survived, how much memory it had when the last of them was lost. `device_name` gives
// the name of a device.
[[nodiscard]] std::string LevelTable(const v1::ModelComparison& comparison, const v1::Report& report,
                                     std::optional<std::size_t> max_columns);

// The advice in some lines: which level and why, inversions, remarks.
[[nodiscard]] std::string AdviceText(const v1::ModelAdvice& advice);

// Each level on each device, and why it fits or does not, below the model and the conditions that count.
[[nodiscard]] std::string AdviceTable(const v1::ModelAdvice& advice, std::optional<std::size_t> max_columns);

// A soak: how many cycles survived, what memory and load times did, and the gaps between attempts.
[[nodiscard]] std::string SoakText(const std::string& run_id, const v1::SoakReport& soak,
                                   std::optional<std::size_t> max_columns);

}  // namespace ballast::cli
