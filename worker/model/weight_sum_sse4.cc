#include "worker/model/weight_sum_instruction_sets.h"
#include "worker/model/weight_sum_kernels.inc"

namespace ballast::model {

std::uint64_t SumWithSse4(gguf::TensorType type, const std::uint8_t* bytes, std::size_t size_bytes,
                          std::size_t blocks) {
  return SumOf(type, bytes, size_bytes, blocks);
}

}  // namespace ballast::model
