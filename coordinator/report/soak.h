// What a soak tells: its cycles over all attempts, the gaps between these, and what memory and load times did.
#pragma once

#include <span>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::report {

// Of a run of the kind `stability`, ended or not: the cycles of every attempt that has brought a result, and of the
// last one, while it goes on, `open_cycles`. Offsets become continuous by the device's clock; where that was set back,
// an attempt follows the one before at once.
[[nodiscard]] v1::SoakReport BuildSoakReport(const v1::Run& run, std::span<const v1::StabilityCycle> open_cycles = {});

}  // namespace ballast::report
