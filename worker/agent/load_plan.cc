#include "worker/agent/load_plan.h"

#include <random>
#include <utility>

namespace ballast::agent {

const v1::ModelLoad* LoadOf(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kModel:
      return &workload.model().load();
    case v1::Workload::kQuantization:
      return &workload.quantization().load();
    case v1::Workload::kStability:
      return workload.stability().has_load() ? &workload.stability().load() : nullptr;
    default:
      return nullptr;
  }
}

std::vector<PlannedLoad> PlanLoads(const v1::Workload& workload, int model_count) {
  std::vector<PlannedLoad> loads;
  if (model_count <= 0 || LoadOf(workload) == nullptr) return loads;
  if (workload.has_stability()) return {PlannedLoad{}};
  if (workload.has_model()) {
    for (std::uint32_t i = 1; i <= workload.model().loads(); ++i) loads.push_back({.model = 0, .repetition = i});
    return loads;
  }
  std::mt19937_64 random(workload.quantization().seed());
  for (std::uint32_t round = 1; round <= workload.quantization().loads_per_level(); ++round) {
    const std::size_t begin = loads.size();
    for (int model = 0; model < model_count; ++model) loads.push_back({.model = model, .repetition = round});
    // By hand: what std::shuffle draws is not the same in every library.
    for (std::size_t i = loads.size() - 1; i > begin; --i) {
      std::swap(loads[i], loads[begin + random() % (i - begin + 1)]);
    }
  }
  return loads;
}

}  // namespace ballast::agent
