// The header of a synthetic model: the keys that a runtime needs, and the tensors of a plan.
#pragma once

#include <cstdint>
#include <string>

#include "common/gguf/quant_mix.h"

namespace ballast::gguf {

// Where the header of a synthetic model says what its weights were drawn from, and by which version of the generator.
inline constexpr char kSyntheticSeedKey[] = "ballast.synthetic.seed";
inline constexpr char kSyntheticVersionKey[] = "ballast.synthetic.version";

// A change of the header or of the weights that a seed gives is a new version: a file that an older program left half
// written is not carried on.
inline constexpr std::uint32_t kSyntheticVersion = 1;

// Everything before the data section, padded to it. A pure function of its arguments: two files with the same header
// have the same weights. The tokenizer is a small byte-pair encoding with as many tokens as the shape has: the 256
// bytes, combinations of the letters a to z in order of length, each with its merge, and the three control tokens of
// Qwen at the end.
[[nodiscard]] std::string SyntheticHeader(const ModelPlan& plan, std::uint64_t seed);

// The size of that header, without making its vocabulary. The same for every seed.
[[nodiscard]] std::uint64_t SyntheticHeaderBytes(const ModelPlan& plan);

// What the header says that the model is called.
[[nodiscard]] std::string SyntheticName(const ModelShape& shape);

}  // namespace ballast::gguf
