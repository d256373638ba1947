// The kernels of SumWeights, by instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/gguf/tensor_type.h"

namespace ballast::model {

// The sum of `size_bytes` bytes, which are `blocks` blocks of the type.
using SumKernel = std::uint64_t (*)(gguf::TensorType type, const std::uint8_t* bytes, std::size_t size_bytes,
                                    std::size_t blocks);

// With what every processor of the architecture has.
std::uint64_t SumPortably(gguf::TensorType type, const std::uint8_t* bytes, std::size_t size_bytes, std::size_t blocks);
// x86-64 only.
std::uint64_t SumWithSse4(gguf::TensorType type, const std::uint8_t* bytes, std::size_t size_bytes, std::size_t blocks);
std::uint64_t SumWithAvx2(gguf::TensorType type, const std::uint8_t* bytes, std::size_t size_bytes, std::size_t blocks);

// Those that this processor can run, the fastest first.
struct InstructionSet {
  std::string_view name;
  SumKernel sum;
};
[[nodiscard]] std::span<const InstructionSet> UsableInstructionSets();

}  // namespace ballast::model
