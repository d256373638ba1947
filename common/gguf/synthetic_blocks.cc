#include "common/gguf/synthetic_blocks.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

namespace ballast::gguf {
namespace {

constexpr double kDeviation = 0.02;
constexpr std::size_t kScales = 64;
constexpr std::size_t kNone = ~std::size_t{0};

// One step of the SplitMix64 generator. Each position has a number of its own, so that any range can be made alone.
constexpr std::uint64_t Mix(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31U);
}
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;

// Where a tensor's numbers begin (FNV-1a of its name, mixed with the seed).
std::uint64_t StreamOf(std::string_view name, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return Mix(hash ^ Mix(seed + kStep));
}

void FillRandom(std::uint64_t stream, std::uint64_t begin, std::span<char> bytes) {
  std::uint64_t state = stream + begin / sizeof(std::uint64_t) * kStep;
  std::size_t i = 0;
  for (; i + sizeof state <= bytes.size(); i += sizeof state) {
    state += kStep;
    const std::uint64_t word = Mix(state);
    std::memcpy(bytes.data() + i, &word, sizeof word);
  }
  const std::uint64_t last = Mix(state + kStep);
  std::memcpy(bytes.data() + i, &last, bytes.size() - i);
}

// The nearest IEEE half to a value between the least normal float and 65504.
std::uint16_t HalfBits(double value) {
  const std::uint16_t sign = value < 0 ? 0x8000 : 0;
  const double magnitude = std::abs(value);
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = m × 2^exponent, m in [0.5, 1)
  exponent = std::max(exponent - 1, -14);
  const auto mantissa = static_cast<std::uint16_t>(std::lround(std::ldexp(magnitude, 10 - exponent)));
  // A subnormal number has no leading one; rounding up to the next power of two carries into the exponent by itself.
  const int biased = mantissa < 1024 ? 0 : exponent + 14;
  return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>((biased << 10) + mantissa));
}

// The fp16 fields of a block. Everything else in it may be any bits.
struct BlockLayout {
  TensorType type;
  std::size_t scale_offset;   // of d
  std::size_t second_offset;  // of dmin or m; kNone where there is none
  double deviation_at_one;    // of the weights where d is 1 and the second is as below
  double second_over_scale;   // puts the mean of the weights at 0
};
// For random bits: K types have 6-bit (Q2_K 4-bit) scales s and minima m uniform from 0, quants q uniform; the weight
// is d·s·q − dmin·m. E.g. Q4_K: s, m in 0…63, q in 0…15: mean 31.5·7.5·d − 31.5·dmin is 0 for dmin = 7.5·d, deviation
// 258·d.
constexpr std::array<BlockLayout, 9> kLayouts = {{
    {TensorType::kQ4_0, 0, kNone, 4.6, 0},
    {TensorType::kQ5_0, 0, kNone, 9.2, 0},
    {TensorType::kQ5_1, 0, 2, 9.2, -15.5},
    {TensorType::kQ8_0, 0, kNone, 74, 0},
    {TensorType::kQ2_K, 80, 82, 14, 1.5},
    {TensorType::kQ3_K, 108, kNone, 43, 0},
    {TensorType::kQ4_K, 0, 2, 258, 7.5},
    {TensorType::kQ5_K, 0, 2, 527, 15.5},
    {TensorType::kQ6_K, 208, kNone, 1365, 0},
}};

struct ScalePair {
  std::uint16_t scale;
  std::uint16_t second;
};
using ScaleTable = std::array<ScalePair, kScales>;

ScaleTable MakeScales(const BlockLayout& layout) {
  ScaleTable table{};
  for (std::size_t i = 0; i < kScales; ++i) {
    // From half to one and a half times what gives the deviation.
    const double scale = kDeviation / layout.deviation_at_one * (0.5 + (static_cast<double>(i) + 0.5) / kScales);
    table[i] = {HalfBits(scale), HalfBits(scale * layout.second_over_scale)};
  }
  return table;
}

void SetScales(const BlockLayout& layout, std::size_t block_bytes, std::span<char> bytes) {
  const ScaleTable table = MakeScales(layout);
  for (std::size_t at = 0; at + block_bytes <= bytes.size(); at += block_bytes) {
    char* const block = bytes.data() + at;
    const ScalePair& pair = table[static_cast<unsigned char>(block[layout.scale_offset]) % kScales];
    std::memcpy(block + layout.scale_offset, &pair.scale, sizeof pair.scale);
    if (layout.second_offset != kNone) std::memcpy(block + layout.second_offset, &pair.second, sizeof pair.second);
  }
}

// Random halfs with magnitudes from 2^-8 to 2^-4.
void SetHalfs(std::span<char> bytes) {
  for (std::size_t at = 0; at + 2 <= bytes.size(); at += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    const auto exponent = static_cast<std::uint16_t>(7U + ((bits >> 10U) & 3U));
    bits = static_cast<std::uint16_t>((bits & 0x83ffU) | static_cast<unsigned>(exponent << 10U));
    std::memcpy(bytes.data() + at, &bits, sizeof bits);
  }
}

void SetFloats(bool norm, std::span<char> bytes) {
  for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    std::int32_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    const float value = (norm ? 1.0F : 0.0F) + 0.1F * static_cast<float>(bits) / 2147483648.0F;
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
}

}  // namespace

void FillTensor(const Tensor& tensor, std::uint64_t seed, std::uint64_t begin, std::span<char> bytes) {
  FillRandom(StreamOf(tensor.name, seed), begin, bytes);
  if (tensor.type == TensorType::kF32) return SetFloats(tensor.name.find("norm") != std::string::npos, bytes);
  if (tensor.type == TensorType::kF16) return SetHalfs(bytes);
  for (const BlockLayout& layout : kLayouts) {
    if (layout.type == tensor.type) SetScales(layout, InfoOf(tensor.type).block_bytes, bytes);
  }
}

}  // namespace ballast::gguf
