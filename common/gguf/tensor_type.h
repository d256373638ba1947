// The types that a tensor in a GGUF file can have, and their sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ballast::gguf {

// The numbers are those in the file (`enum ggml_type` of ggml).
enum class TensorType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
};

// Elements are stored in blocks: each block has so many elements in so many bytes.
struct TensorTypeInfo {
  TensorType type;
  std::string_view name;  // as in ggml: "Q4_K"
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
};

// Every type that is known, by number.
[[nodiscard]] std::span<const TensorTypeInfo> TensorTypes();

// The type with a number from a file; null where it is not known.
[[nodiscard]] const TensorTypeInfo* FindTensorType(std::uint32_t id);

[[nodiscard]] const TensorTypeInfo& InfoOf(TensorType type);

// What an unknown number once meant ("Q4_2, which was removed from the format"), or that it is newer than this program.
[[nodiscard]] std::string DescribeUnknownTensorType(std::uint32_t id);

// Bytes of `elements` elements of a type; nothing where they are no whole number of blocks or 63 bits do not hold it.
[[nodiscard]] std::optional<std::uint64_t> TensorBytes(TensorType type, std::uint64_t elements);

}  // namespace ballast::gguf
