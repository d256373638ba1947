// Random weights: valid blocks of every type that a mix uses.
#pragma once

#include <cstdint>
#include <span>

#include "common/gguf/model_file.h"

namespace ballast::gguf {

// A range of a tensor that FillTensor accepts begins at a multiple of this many of its type's blocks.
inline constexpr std::uint64_t kBlocksInStep = 8;

// Fills `bytes` with what a synthetic model has in `tensor` from byte `begin` on: a pure function of the seed, the
// tensor's name and the position, however the tensor is divided into ranges. `begin` is a multiple of kBlocksInStep
// blocks, and the range a whole number of blocks.
//
// Weights have a mean near 0 and a deviation near 0.02, as trained ones do, so that a runtime computes finite numbers:
// the scales are among 64 fp16 values around a type's own, all other bits are random. Of F32 tensors, norms lie around
// 1 and biases around 0. Types: F32, F16, Q4_0, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K. Thread-safe.
void FillTensor(const Tensor& tensor, std::uint64_t seed, std::uint64_t begin, std::span<char> bytes);

}  // namespace ballast::gguf
