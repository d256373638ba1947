#include "worker/memory/memory_slope.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "common/base/clock.h"

namespace ballast::memory {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLimit = 4096 * kMiB;

// One sample a second.
std::vector<UsedSample> Samples(int count, const std::function<double(int)>& used_mib) {
  std::vector<UsedSample> samples;
  for (int i = 0; i < count; ++i) {
    samples.push_back({seconds(i), static_cast<std::uint64_t>(used_mib(i) * static_cast<double>(kMiB))});
  }
  return samples;
}

// A reproducible wobble between -1 and 1.
double Noise(int i) {
  return static_cast<double>((static_cast<std::uint64_t>(i) * 2654435761U) % 2001) / 1000 - 1;
}

TEST(MemorySlopeTest, ALineHasItsSlope) {
  const auto slope = FitSlope(Samples(60, [](int i) { return 1000 + 2.0 * i; }));
  ASSERT_TRUE(slope.has_value());
  EXPECT_DOUBLE_EQ(slope->bytes_per_second(), 2.0 * kMiB);
  EXPECT_EQ(slope->sample_count(), 60U);
  EXPECT_EQ(base::FromProto(slope->span()), seconds(59));
  EXPECT_EQ(TrendOf(slope, kLimit), v1::MemoryReport::RISING);
}

TEST(MemorySlopeTest, AFallIsAFall) {
  const auto slope = FitSlope(Samples(60, [](int i) { return 2000 - 3.0 * i + 20 * Noise(i); }));
  EXPECT_NEAR(slope->bytes_per_second() / kMiB, -3, 0.3);
  EXPECT_LT(slope->high_bytes_per_second(), 0);
  EXPECT_EQ(TrendOf(slope, kLimit), v1::MemoryReport::FALLING);
}

TEST(MemorySlopeTest, TheIntervalHoldsTheTrueSlope) {
  const auto slope = FitSlope(Samples(100, [](int i) { return 1000 + 1.0 * i + 50 * Noise(i); }));
  EXPECT_LT(slope->low_bytes_per_second(), 1.0 * kMiB);
  EXPECT_GT(slope->high_bytes_per_second(), 1.0 * kMiB);
  EXPECT_LT(slope->low_bytes_per_second(), slope->high_bytes_per_second());
}

TEST(MemorySlopeTest, NoiseIsStable) {
  const auto slope = FitSlope(Samples(100, [](int i) { return 1000 + 100 * Noise(i); }));
  EXPECT_LT(slope->low_bytes_per_second(), 0);
  EXPECT_GT(slope->high_bytes_per_second(), 0);
  EXPECT_EQ(TrendOf(slope, kLimit), v1::MemoryReport::STABLE);
}

TEST(MemorySlopeTest, AFewOutliersDoNotMoveIt) {
  const auto slope = FitSlope(Samples(50, [](int i) { return i % 10 == 9 ? 4000.0 : 1000.0; }));
  EXPECT_EQ(slope->bytes_per_second(), 0);
  EXPECT_EQ(TrendOf(slope, kLimit), v1::MemoryReport::STABLE);
}

TEST(MemorySlopeTest, ARiseOfLessThanAHundredthOfTheLimitIsStable) {
  const auto slope = FitSlope(Samples(60, [](int i) { return 1000 + 0.5 * i; }));
  EXPECT_GT(slope->low_bytes_per_second(), 0);
  EXPECT_EQ(TrendOf(slope, kLimit), v1::MemoryReport::STABLE);
  EXPECT_EQ(TrendOf(slope, 256 * kMiB), v1::MemoryReport::RISING) << "of a smaller machine it is more";
}

TEST(MemorySlopeTest, TooFewSamplesTellNothing) {
  EXPECT_FALSE(FitSlope(Samples(7, [](int i) { return 100.0 * i; })).has_value());
  EXPECT_EQ(TrendOf(std::nullopt, kLimit), v1::MemoryReport::TOO_FEW_SAMPLES);
  const std::vector<UsedSample> at_once(20, UsedSample{seconds(1), kMiB});
  EXPECT_FALSE(FitSlope(at_once).has_value());
}

TEST(MemorySlopeTest, ManySamplesAreThinnedFromTheFirstToTheLast) {
  const auto slope = FitSlope(Samples(3600, [](int i) { return 1000 + 0.5 * i; }));
  EXPECT_EQ(slope->sample_count(), 300U);
  EXPECT_EQ(base::FromProto(slope->span()), seconds(3599));
  EXPECT_NEAR(slope->bytes_per_second(), 0.5 * kMiB, 1);
}

}  // namespace
}  // namespace ballast::memory
