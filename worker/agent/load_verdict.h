// From the ends of loads to the end of their run.
#pragma once

#include <vector>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::agent {

// `outcome` is that of the pressure. Where it was carried out to its end, the loads decide: a model run has the outcome
// of its first load that was not COMPLETED; a quantization run is COMPLETED, because that levels die is what it is to
// find out. The message counts the loads in either case. Pure.
void JudgeLoads(const v1::Workload& workload, const std::vector<v1::ModelLoadResult>& loads, v1::Outcome* outcome);

}  // namespace ballast::agent
