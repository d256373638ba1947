#include "worker/memory/quantization_advice.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "common/base/units.h"
#include "common/gguf/memory_estimate.h"
#include "common/gguf/quant_mix.h"

namespace ballast::memory {
namespace {

std::size_t QualityOf(const std::string& quant) {
  const auto levels = gguf::LevelsByQuality();
  const absl::StatusOr<gguf::QuantLevel> level = gguf::FindQuantLevel(quant);
  if (!level.ok()) return levels.size();
  return static_cast<std::size_t>(std::ranges::find(levels, *level) - levels.begin());
}

std::uint64_t WeightBytes(const CandidateLevel& level) {
  return level.description.ok() ? level.description->weight_bytes() : 0;
}

}  // namespace

v1::QuantizationAdvice Advise(const std::string& model_id, std::vector<CandidateLevel> levels,
                              std::uint64_t room_bytes) {
  const bool all_known =
      std::ranges::all_of(levels, [](const CandidateLevel& level) { return gguf::FindQuantLevel(level.quant).ok(); });
  // A level without a place in the order of quality can only be compared by size, and so can those beside it.
  std::ranges::stable_sort(levels, [all_known](const CandidateLevel& a, const CandidateLevel& b) {
    return std::tuple(all_known ? QualityOf(a.quant) : 0, WeightBytes(a)) <
           std::tuple(all_known ? QualityOf(b.quant) : 0, WeightBytes(b));
  });
  v1::QuantizationAdvice advice;
  advice.set_model_id(model_id);
  advice.set_room_bytes(room_bytes);
  const v1::LevelFit* best = nullptr;
  const v1::LevelFit* smallest = nullptr;
  v1::ModelLoad load;
  load.set_loader(v1::ModelLoad::MMAP);
  load.set_runtime(v1::ModelLoad::BUILTIN);
  advice.mutable_levels()->Reserve(static_cast<int>(levels.size()));
  for (const CandidateLevel& level : levels) {
    v1::LevelFit* const fit = advice.add_levels();
    fit->set_quant(level.quant);
    if (!level.description.ok()) {
      fit->set_problem(std::string(level.description.status().message()));
      continue;
    }
    *fit->mutable_estimate() = gguf::EstimateMemory(*level.description, load);
    fit->set_fits(fit->estimate().resident_bytes() <= room_bytes);
    fit->set_loads(fit->estimate().required_bytes() <= room_bytes);
    if (fit->fits()) best = fit;
    if (smallest == nullptr || fit->estimate().resident_bytes() < smallest->estimate().resident_bytes()) smallest = fit;
  }
  const std::string room = base::FormatBytes(room_bytes);
  if (best != nullptr) {
    advice.set_current_optimal(best->quant());
    advice.set_message(fmt::format("{} needs {}, and there is room for {}", best->quant(),
                                   base::FormatBytes(best->estimate().resident_bytes()), room));
  } else if (smallest != nullptr) {
    advice.set_message(fmt::format("no level fits: {} needs {}, and there is room for {}", smallest->quant(),
                                   base::FormatBytes(smallest->estimate().resident_bytes()), room));
  } else {
    advice.set_message("nothing is known of any level");
  }
  return advice;
}

}  // namespace ballast::memory
