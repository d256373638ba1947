// The sum over a tensor's weights: each is dequantised and multiplied by a small factor, as in a row of a matrix
// product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/gguf/tensor_type.h"

namespace ballast::model {

// Types of tensors whose weights SumWeights dequantises. Those of other types are summed as they lie in the file, four
// bytes at a time.
[[nodiscard]] bool CanDequantise(gguf::TensorType type);

// Pieces of a tensor that are summed apart begin at multiples of so many bytes of it.
[[nodiscard]] std::size_t PieceUnitBytes(gguf::TensorType type);

// The sum of a piece of a tensor: of each weight times PositionFactor(its place in its block) times
// BlockFactor(number of its block in the tensor), in units of 2^-24, modulo 2^64. Exact: half-precision scales are
// multiples of 2^-24, all else are integers. So the sum of a tensor is the sum of its pieces' sums, however it is cut
// and on whatever processor.
//
// - A block is what the format calls one; of F32, F16 and BF16, which have none, 32 weights, and BlockFactor is 1.
// - F32, F16 and BF16 are cut off at ±64 and after the 24th binary place.
// - Infinite and not-a-number half-precision scales count as the powers of two that would follow.
// - Types that cannot be dequantised: each four bytes (little-endian, the last ones filled up with zeros) are a number.
//
// `piece` begins at a multiple of PieceUnitBytes of the tensor, and ends at one or with the tensor. No alignment is
// needed. Thread-safe. Uses the best instructions that the processor has.
[[nodiscard]] std::uint64_t SumWeights(gguf::TensorType type, std::span<const std::byte> piece);

// 1 to 32.
[[nodiscard]] constexpr int PositionFactor(std::size_t place) {
  return static_cast<int>(place % 32) + 1;
}
// 1 to 8.
[[nodiscard]] constexpr int BlockFactor(std::size_t block) {
  return static_cast<int>(block % 8) + 1;
}

}  // namespace ballast::model
