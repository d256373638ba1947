// Which level of a model fits into what is available.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/memory_report.pb.h"
#include "ballast/v1/model.pb.h"

namespace ballast::memory {

// One level, or why nothing is known of it.
struct CandidateLevel {
  std::string quant;
  absl::StatusOr<v1::ModelDescription> description;
};

// Sets each level's estimate (the loader of this project, mapped, as jobs have it by default) against `room_bytes`.
// Levels of equal quality, and those that have no place in the order of quality, are ordered by size. Pure.
[[nodiscard]] v1::QuantizationAdvice Advise(const std::string& model_id, std::vector<CandidateLevel> levels,
                                            std::uint64_t room_bytes);

}  // namespace ballast::memory
