#include "worker/model/weight_sum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "worker/model/weight_sum_instruction_sets.h"

namespace ballast::model {
namespace {

using gguf::TensorType;
using enum gguf::TensorType;

// Weight by weight, straight from the description of the format. Integers in units of 2^-24, modulo 2^64.
class Reference {
 public:
  explicit Reference(const std::uint8_t* block) : block_(block) {}

  std::vector<std::uint64_t> Weights(TensorType type) {
    switch (type) {
      case kQ4_0:
        return Small(16, [&](std::size_t i) { return Times(Half(0), Nibble(2, i) - 8); });
      case kQ4_1:
        return Small(16, [&](std::size_t i) { return Times(Half(0), Nibble(4, i)) + Half(2); });
      case kQ5_0:
        return Small(16, [&](std::size_t i) { return Times(Half(0), (Nibble(6, i) | Bit(2, i) << 4) - 16); });
      case kQ5_1:
        return Small(16, [&](std::size_t i) { return Times(Half(0), Nibble(8, i) | Bit(4, i) << 4) + Half(2); });
      case kQ8_0:
        return Small(16, [&](std::size_t i) { return Times(Half(0), static_cast<std::int8_t>(block_[2 + i])); });
      case kQ2_K:
        return Large([&](std::size_t i) {
          const int quant = block_[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
          const int scale = block_[i / 16];
          return Times(Half(80), (scale & 15) * quant) - Times(Half(82), scale >> 4);
        });
      case kQ3_K:
        return Large([&](std::size_t i) {
          const int low = block_[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
          const int high = block_[i % 32] >> (i / 32) & 1;
          const std::size_t group = i / 16;
          const int scale_low = block_[96 + group % 8] >> (group / 8 * 4) & 15;
          const int scale_high = block_[104 + group % 4] >> (group / 4 * 2) & 3;
          return Times(Half(108), ((scale_low | scale_high << 4) - 32) * ((low | high << 2) - 4));
        });
      case kQ4_K:
        return Large([&](std::size_t i) {
          const int quant = block_[16 + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
          const auto [scale, minimum] = SixBits(i / 32);
          return Times(Half(0), scale * quant) - Times(Half(2), minimum);
        });
      case kQ5_K:
        return Large([&](std::size_t i) {
          const int low = block_[48 + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
          const int high = block_[16 + i % 32] >> (i / 32) & 1;
          const auto [scale, minimum] = SixBits(i / 32);
          return Times(Half(0), scale * (low | high << 4)) - Times(Half(2), minimum);
        });
      case kQ6_K:
        return Large([&](std::size_t i) {
          const std::size_t in_half = i % 128;
          const int low = block_[i / 128 * 64 + in_half % 64] >> (in_half / 64 * 4) & 15;
          const int high = block_[128 + i / 128 * 32 + i % 32] >> (in_half / 32 * 2) & 3;
          const int scale = static_cast<std::int8_t>(block_[192 + i / 16]);
          return Times(Half(208), scale * ((low | high << 4) - 32));
        });
      default:
        return {};
    }
  }

  // Of one half-precision number, by what the standard says it means.
  static std::uint64_t Fixed(std::uint16_t half) {
    const int exponent = half >> 10 & 31;
    const int fraction = half & 1023;
    const double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    const auto fixed = static_cast<std::uint64_t>(std::ldexp(value, 24));
    return (half & 0x8000) != 0 ? 0 - fixed : fixed;
  }

 private:
  static std::uint64_t Times(std::uint64_t fixed, int integer) {
    return fixed * static_cast<std::uint64_t>(std::int64_t{integer});
  }
  std::uint64_t Half(std::size_t at) const {
    return Fixed(static_cast<std::uint16_t>(block_[at] | block_[at + 1] << 8));
  }
  int Nibble(std::size_t at, std::size_t i) const { return block_[at + i % 16] >> (i / 16 * 4) & 15; }
  int Bit(std::size_t at, std::size_t i) const { return block_[at + i / 8] >> (i % 8) & 1; }
  // Scale and minimum of Q4_K and Q5_K.
  std::pair<int, int> SixBits(std::size_t group) const {
    const std::uint8_t* const packed = block_ + 4;
    if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
    return {(packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4, packed[group + 4] >> 4 | (packed[group] >> 6)
                                                                                                   << 4};
  }
  template <typename Weight>
  static std::vector<std::uint64_t> Collect(std::size_t count, const Weight& weight) {
    std::vector<std::uint64_t> weights;
    for (std::size_t i = 0; i < count; ++i) weights.push_back(weight(i));
    return weights;
  }
  template <typename Weight>
  static std::vector<std::uint64_t> Small(std::size_t half, const Weight& weight) {
    return Collect(2 * half, weight);
  }
  template <typename Weight>
  static std::vector<std::uint64_t> Large(const Weight& weight) {
    return Collect(256, weight);
  }

  const std::uint8_t* block_;
};

std::uint64_t FixedOfFloat(float value) {
  if (!(value < 64)) return std::uint64_t{1} << 30;
  if (!(value > -64)) return 0 - (std::uint64_t{1} << 30);
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(std::ldexp(double{value}, 24)));
}

std::uint64_t FixedOfElement(TensorType type, const std::uint8_t* element) {
  if (type == kF16) {
    std::uint16_t half = 0;
    std::memcpy(&half, element, sizeof half);
    const auto fixed = static_cast<std::int64_t>(Reference::Fixed(half));
    const std::int64_t limit = 1 << 30;
    return static_cast<std::uint64_t>(std::clamp(fixed, -limit, limit));
  }
  std::uint32_t bits = 0;
  if (type == kBF16) {
    std::uint16_t high = 0;
    std::memcpy(&high, element, sizeof high);
    bits = std::uint32_t{high} << 16U;
  } else {
    std::memcpy(&bits, element, sizeof bits);
  }
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return FixedOfFloat(value);
}

std::uint64_t Expected(TensorType type, const std::vector<std::uint8_t>& bytes) {
  const gguf::TensorTypeInfo& info = gguf::InfoOf(type);
  std::uint64_t sum = 0;
  for (std::size_t block = 0; block < bytes.size() / info.block_bytes; ++block) {
    const std::uint8_t* const at = bytes.data() + block * info.block_bytes;
    if (info.block_elements == 1) {
      sum += FixedOfElement(type, at) * static_cast<std::uint64_t>(PositionFactor(block));
      continue;
    }
    const std::vector<std::uint64_t> weights = Reference(at).Weights(type);
    EXPECT_EQ(weights.size(), info.block_elements);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sum += weights[i] * static_cast<std::uint64_t>(PositionFactor(i) * BlockFactor(block));
    }
  }
  return sum;
}

std::span<const std::byte> AsBytes(const std::vector<std::uint8_t>& bytes) {
  return std::as_bytes(std::span(bytes));
}

class WeightSumTest : public testing::TestWithParam<TensorType> {};

// Random bytes are blocks with every kind of scale, infinite ones too.
TEST_P(WeightSumTest, IsThatOfEachWeightByTheFormat) {
  std::mt19937_64 random(static_cast<unsigned>(GetParam()) + 1);
  const gguf::TensorTypeInfo& info = gguf::InfoOf(GetParam());
  for (const std::size_t blocks : {1U, 2U, 7U, 8U, 9U, 31U, 33U, 64U, 100U}) {
    std::vector<std::uint8_t> bytes(blocks * info.block_bytes);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const std::uint64_t expected = Expected(GetParam(), bytes);
    for (const InstructionSet& set : UsableInstructionSets()) {
      EXPECT_EQ(set.sum(GetParam(), bytes.data(), bytes.size(), blocks), expected) << blocks << " blocks, " << set.name;
    }
    EXPECT_EQ(SumWeights(GetParam(), AsBytes(bytes)), expected);
  }
}

TEST_P(WeightSumTest, HoldsTheLargestNumbers) {
  const gguf::TensorTypeInfo& info = gguf::InfoOf(GetParam());
  for (const unsigned byte : {0xffU, 0x7fU, 0x80U, 0x00U}) {
    const std::vector<std::uint8_t> bytes(std::size_t{info.block_bytes} * 24, static_cast<std::uint8_t>(byte));
    const std::uint64_t expected = Expected(GetParam(), bytes);
    for (const InstructionSet& set : UsableInstructionSets()) {
      EXPECT_EQ(set.sum(GetParam(), bytes.data(), bytes.size(), 24), expected) << byte << ", " << set.name;
    }
  }
}

TEST_P(WeightSumTest, PiecesAddUp) {
  std::mt19937_64 random(7);
  const std::size_t unit = PieceUnitBytes(GetParam());
  std::vector<std::uint8_t> bytes(5 * unit + 3 * gguf::InfoOf(GetParam()).block_bytes);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  const auto all = AsBytes(bytes);
  EXPECT_EQ(SumWeights(GetParam(), all.first(2 * unit)) + SumWeights(GetParam(), all.subspan(2 * unit)),
            SumWeights(GetParam(), all));
}

TEST_P(WeightSumTest, EveryByteCounts) {
  std::mt19937_64 random(15);  // one with which no group of weights adds up to nothing
  const gguf::TensorTypeInfo& info = gguf::InfoOf(GetParam());
  std::vector<std::uint8_t> bytes(std::size_t{info.block_bytes} * 9);
  // Scales and quants of which none is zero, and numbers that are not too small.
  for (std::uint8_t& byte : bytes) {
    byte = info.block_elements == 1 ? 0x3c : static_cast<std::uint8_t>(0x55U | (random() & 0xaaU));
  }
  const std::uint64_t sum = SumWeights(GetParam(), AsBytes(bytes));
  // What is cut off after the 24th binary place does not.
  const std::size_t first = info.block_elements == 1 ? info.block_bytes - 1 : 0;
  const std::size_t step = info.block_elements == 1 ? info.block_bytes : 1;
  for (std::size_t i = first; i < bytes.size(); i += step) {
    bytes[i] ^= 0x01U;
    EXPECT_NE(SumWeights(GetParam(), AsBytes(bytes)), sum) << "byte " << i;
    bytes[i] ^= 0x01U;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, WeightSumTest,
                         testing::Values(kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K,
                                         kQ5_K, kQ6_K),
                         [](const auto& tested) { return std::string(gguf::InfoOf(tested.param).name); });

TEST(WeightSumOfNumbersTest, OneIsTwoToTheTwentyFour) {
  const std::array<float, 3> values = {1.0F, 2.0F, -0.5F};
  EXPECT_EQ(SumWeights(kF32, std::as_bytes(std::span(values))),
            (std::uint64_t{1} << 24U) * 1 + (std::uint64_t{2} << 24U) * 2 - (std::uint64_t{1} << 23U) * 3);
  // d = 1, all quants 9, which stand for 1.
  std::vector<std::uint8_t> block(18, 0x99);
  block[0] = 0x00;
  block[1] = 0x3c;
  EXPECT_EQ(SumWeights(kQ4_0, AsBytes(block)), (std::uint64_t{1} << 24U) * (32 * 33 / 2));
}

TEST(WeightSumOfNumbersTest, OtherTypesAreSummedAsTheyLie) {
  EXPECT_FALSE(CanDequantise(kIQ4_XS));
  const std::vector<std::uint8_t> bytes = {1, 0, 0, 0, 2, 1, 0, 0, 3, 0};
  EXPECT_EQ(SumWeights(kI8, AsBytes(bytes)), 1U + 258U + 3U);
}

}  // namespace
}  // namespace ballast::model
