// The levels of quantisation, and which type each tensor of a model gets at each.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/gguf/model_file.h"
#include "common/gguf/model_shape.h"

namespace ballast::gguf {

enum class QuantLevel { kQ2_K, kQ3_K_M, kQ4_0, kQ4_K_M, kQ5_K_M, kQ6_K, kQ8_0, kF16 };

// Every level, lowest quality first. The order is the usual one of perplexity, and that of bits per weight in shapes
// whose rows divide by 256; in the others (0.5B) types that stand in for those of 256 may make a lower level the larger
// one.
[[nodiscard]] std::span<const QuantLevel> LevelsByQuality();

// "Q4_K_M".
[[nodiscard]] std::string_view NameOf(QuantLevel level);

// By name, case ignored. NOT_FOUND lists the names there are.
[[nodiscard]] absl::StatusOr<QuantLevel> FindQuantLevel(std::string_view name);

// The number in a file's key `general.file_type` (`enum llama_ftype`).
[[nodiscard]] std::uint32_t FileTypeOf(QuantLevel level);

// The level that a file says it has; nothing where it says none or another one.
[[nodiscard]] std::optional<QuantLevel> LevelOf(const ModelFile& model);

// The tensors of a model of one file, in its order, with types, sizes and offsets.
struct ModelPlan {
  ModelShape shape;
  QuantLevel level = QuantLevel::kF16;
  std::vector<Tensor> tensors;
  std::uint64_t tensor_bytes = 0;  // without padding
  std::uint64_t parameter_count = 0;

  [[nodiscard]] double bits_per_weight() const {
    return 8 * static_cast<double>(tensor_bytes) / static_cast<double>(parameter_count);
  }
};

// What llama-quantize makes of a qwen2 model of this shape, without an importance matrix; the sizes are those of the
// published files to the byte. Norms and biases are F32. The output, or the embedding that serves as one, is Q6_K, and
// Q8_0 in the mix Q8_0 or where rows do not divide by 256. In other tensors with such rows the types of 256 are
// replaced: Q2_K, Q3_K by Q4_0; Q4_K by Q5_0; Q5_K by Q5_1; Q6_K by Q8_0. The shape must be one of the architecture
// qwen2 whose rows divide by 32 (KnownShapes are).
[[nodiscard]] ModelPlan PlanModel(const ModelShape& shape, QuantLevel level);

}  // namespace ballast::gguf
