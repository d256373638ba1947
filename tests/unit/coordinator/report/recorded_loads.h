// A recorded quantization job and a soak, as a store keeps them.
#pragma once

#include "storage/store.h"

namespace ballast::report {

inline constexpr char kQuantizationJob[] = "j-0000000003";
inline constexpr char kSoakJob[] = "j-0000000004";

// To be written behind the history of StoredHistoryTest:
//
//   d-000000000c, d-000000000d   devices with 1 GiB and with 4 GiB
//   kQuantizationJob             model `pocket` at Q2_K, Q4_K_M and Q6_K, twice each, beside a burst to 30 %
//     .1  d-000000000c           Q6_K OOM_KILLED both times, Q2_K slower than Q4_K_M
//     .2  d-000000000d           all survive
//   kSoakJob                     model `pocket` at Q2_K
//     .1  d-000000000d           two attempts, the agent killed in between; one cycle OOM_KILLED
[[nodiscard]] storage::WriteBatch RecordedLoads();

}  // namespace ballast::report
