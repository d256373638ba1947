#include "common/gguf/tensor_type.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>

namespace ballast::gguf {
namespace {

using enum TensorType;

constexpr std::array<TensorTypeInfo, 32> kTypes = {{
    {kF32, "F32", 1, 4},
    {kF16, "F16", 1, 2},
    {kQ4_0, "Q4_0", 32, 18},
    {kQ4_1, "Q4_1", 32, 20},
    {kQ5_0, "Q5_0", 32, 22},
    {kQ5_1, "Q5_1", 32, 24},
    {kQ8_0, "Q8_0", 32, 34},
    {kQ8_1, "Q8_1", 32, 36},
    {kQ2_K, "Q2_K", 256, 84},
    {kQ3_K, "Q3_K", 256, 110},
    {kQ4_K, "Q4_K", 256, 144},
    {kQ5_K, "Q5_K", 256, 176},
    {kQ6_K, "Q6_K", 256, 210},
    {kQ8_K, "Q8_K", 256, 292},
    {kIQ2_XXS, "IQ2_XXS", 256, 66},
    {kIQ2_XS, "IQ2_XS", 256, 74},
    {kIQ3_XXS, "IQ3_XXS", 256, 98},
    {kIQ1_S, "IQ1_S", 256, 50},
    {kIQ4_NL, "IQ4_NL", 32, 18},
    {kIQ3_S, "IQ3_S", 256, 110},
    {kIQ2_S, "IQ2_S", 256, 82},
    {kIQ4_XS, "IQ4_XS", 256, 136},
    {kI8, "I8", 1, 1},
    {kI16, "I16", 1, 2},
    {kI32, "I32", 1, 4},
    {kI64, "I64", 1, 8},
    {kF64, "F64", 1, 8},
    {kIQ1_M, "IQ1_M", 256, 56},
    {kBF16, "BF16", 1, 2},
    {kTQ1_0, "TQ1_0", 256, 54},
    {kTQ2_0, "TQ2_0", 256, 66},
    {kMXFP4, "MXFP4", 32, 17},
}};

struct RemovedType {
  std::uint32_t id;
  std::string_view name;
};
constexpr std::array<RemovedType, 5> kRemoved = {
    {{4, "Q4_2"}, {5, "Q4_3"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"}, {33, "Q4_0_8_8"}}};

}  // namespace

std::span<const TensorTypeInfo> TensorTypes() {
  return kTypes;
}

const TensorTypeInfo* FindTensorType(std::uint32_t id) {
  const auto* const found = std::find_if(kTypes.begin(), kTypes.end(), [id](const TensorTypeInfo& info) {
    return static_cast<std::uint32_t>(info.type) == id;
  });
  return found == kTypes.end() ? nullptr : found;
}

const TensorTypeInfo& InfoOf(TensorType type) {
  const TensorTypeInfo* const info = FindTensorType(static_cast<std::uint32_t>(type));
  // Every enumerator stands in the table; a test goes through them.
  if (info == nullptr) std::abort();
  return *info;
}

std::string DescribeUnknownTensorType(std::uint32_t id) {
  const auto* const removed =
      std::find_if(kRemoved.begin(), kRemoved.end(), [id](const RemovedType& type) { return type.id == id; });
  if (removed != kRemoved.end()) return fmt::format("{} ({}), which was removed from the format", id, removed->name);
  return fmt::format("{}, which this version does not know", id);
}

std::optional<std::uint64_t> TensorBytes(TensorType type, std::uint64_t elements) {
  const TensorTypeInfo& info = InfoOf(type);
  if (elements % info.block_elements != 0) return std::nullopt;
  const std::uint64_t blocks = elements / info.block_elements;
  if (blocks > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / info.block_bytes)
    return std::nullopt;
  return blocks * info.block_bytes;
}

}  // namespace ballast::gguf
