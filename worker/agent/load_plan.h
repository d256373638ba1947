// Which loads a run carries out, in which order.
#pragma once

#include <cstdint>
#include <vector>

#include "ballast/v1/workload.pb.h"

namespace ballast::agent {

// One load to carry out.
struct PlannedLoad {
  int model = 0;                 // place among the run's models
  std::uint32_t repetition = 1;  // of that model in the run
};

// How the workload's model is loaded; null where it has none.
[[nodiscard]] const v1::ModelLoad* LoadOf(const v1::Workload& workload);

// The loads of a run (of one cycle, for a soak) with `model_count` models at hand: a model run and a soak use the
// first. A quantization run goes in rounds, in each of which every model has its turn once, in an order that is drawn
// from the seed and the round: the same seed gives the same order on every machine. Pure.
[[nodiscard]] std::vector<PlannedLoad> PlanLoads(const v1::Workload& workload, int model_count);

}  // namespace ballast::agent
