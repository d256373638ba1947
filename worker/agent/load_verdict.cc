#include "worker/agent/load_verdict.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ballast::agent {
namespace {

// `2 of 3 at Q4_K_M completed (1 OOM_KILLED)`, one a level, in the order of their names.
std::vector<std::string> CountLevels(const std::vector<v1::ModelLoadResult>& loads) {
  std::map<std::string, std::map<v1::OutcomeKind, std::uint32_t>> levels;
  for (const v1::ModelLoadResult& load : loads) ++levels[load.quant()][load.outcome().kind()];
  std::vector<std::string> counted;
  for (const auto& [quant, outcomes] : levels) {
    std::uint32_t all = 0;
    std::uint32_t completed = 0;
    std::vector<std::string> others;
    for (const auto& [kind, count] : outcomes) {
      all += count;
      if (kind == v1::COMPLETED) {
        completed = count;
      } else {
        others.push_back(fmt::format("{} {}", count, v1::OutcomeKind_Name(kind)));
      }
    }
    counted.push_back(fmt::format("{} of {} at {} completed{}", completed, all, quant,
                                  others.empty() ? "" : fmt::format(" ({})", fmt::join(others, ", "))));
  }
  return counted;
}

}  // namespace

void JudgeLoads(const v1::Workload& workload, const std::vector<v1::ModelLoadResult>& loads, v1::Outcome* outcome) {
  if (outcome->kind() != v1::COMPLETED || loads.empty()) return;
  const std::string counts = fmt::format("{}", fmt::join(CountLevels(loads), ", "));
  const auto failed = std::ranges::find_if(
      loads, [](const v1::ModelLoadResult& load) { return load.outcome().kind() != v1::COMPLETED; });
  if (!workload.has_model() || failed == loads.end()) {
    outcome->set_message(fmt::format("loads of {}: {}; {}", loads.front().model_id(), counts, outcome->message()));
    return;
  }
  const std::string message = loads.size() == 1 ? failed->outcome().message()
                                                : fmt::format("load {} of {}: {} (in all: {})", failed->index(),
                                                              loads.size(), failed->outcome().message(), counts);
  *outcome = failed->outcome();
  outcome->set_message(message);
}

}  // namespace ballast::agent
