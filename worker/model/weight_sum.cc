#include "worker/model/weight_sum.h"

#include <vector>

#include "worker/model/weight_sum_instruction_sets.h"

namespace ballast::model {
namespace {

// Of types that are not dequantised.
constexpr std::size_t kWordsUnitBytes = 4096;

}  // namespace

bool CanDequantise(gguf::TensorType type) {
  switch (type) {
    case gguf::TensorType::kF32:
    case gguf::TensorType::kF16:
    case gguf::TensorType::kBF16:
    case gguf::TensorType::kQ4_0:
    case gguf::TensorType::kQ4_1:
    case gguf::TensorType::kQ5_0:
    case gguf::TensorType::kQ5_1:
    case gguf::TensorType::kQ8_0:
    case gguf::TensorType::kQ2_K:
    case gguf::TensorType::kQ3_K:
    case gguf::TensorType::kQ4_K:
    case gguf::TensorType::kQ5_K:
    case gguf::TensorType::kQ6_K:
      return true;
    default:
      return false;
  }
}

std::size_t PieceUnitBytes(gguf::TensorType type) {
  if (!CanDequantise(type)) return kWordsUnitBytes;
  const gguf::TensorTypeInfo& info = gguf::InfoOf(type);
  return std::size_t{info.block_bytes} * (info.block_elements == 1 ? 32 : 8);
}

std::span<const InstructionSet> UsableInstructionSets() {
  static const std::vector<InstructionSet> usable = [] {
    std::vector<InstructionSet> sets;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") != 0) sets.push_back({"AVX2", SumWithAvx2});
    if (__builtin_cpu_supports("sse4.2") != 0) sets.push_back({"SSE4", SumWithSse4});
#endif
    sets.push_back({"portable", SumPortably});
    return sets;
  }();
  return usable;
}

std::uint64_t SumWeights(gguf::TensorType type, std::span<const std::byte> piece) {
  static const SumKernel fastest = UsableInstructionSets().front().sum;
  return fastest(type, reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size(),
                 piece.size() / gguf::InfoOf(type).block_bytes);
}

}  // namespace ballast::model
