// What the kinds of workloads have in common.
#pragma once

#include "ballast/v1/workload.pb.h"

namespace ballast::jobs {

// Where a workload names the model that it loads; null where it loads none.
[[nodiscard]] const v1::ModelLoad* LoadOf(const v1::Workload& workload);
[[nodiscard]] v1::ModelLoad* MutableLoadOf(v1::Workload* workload);

// The pressure that a workload is or has beside it; null where there is none.
[[nodiscard]] const v1::PressureWorkload* PressureOf(const v1::Workload& workload);

}  // namespace ballast::jobs
