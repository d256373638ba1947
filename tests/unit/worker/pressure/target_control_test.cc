#include "worker/pressure/target_control.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>

namespace ballast::pressure {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLimit = 4096 * kMiB;
constexpr std::uint64_t kHalf = kLimit / 2;
constexpr ControlSettings kSettings = {.floor_percent = 5, .chunk_bytes = 16 * kMiB};

os::MemoryReading Used(std::uint64_t bytes) {
  return {.limit_bytes = kLimit, .available_bytes = kLimit - bytes, .headroom_bytes = kLimit - bytes};
}

TEST(TargetControlTest, MovesHalfOfTheDistanceAndAtMostAChunk) {
  EXPECT_EQ(NextCorrection(Used(1024 * kMiB), 0, kHalf, kSettings, true).move_bytes,
            static_cast<std::int64_t>(16 * kMiB));
  const Correction near = NextCorrection(Used(2048 * kMiB - 20 * kMiB), 0, kHalf, kSettings, true);
  EXPECT_EQ(near.move_bytes, static_cast<std::int64_t>(10 * kMiB));
  EXPECT_EQ(near.error_bytes, static_cast<std::int64_t>(20 * kMiB));
  EXPECT_EQ(near.bound, Correction::Bound::kNone);
}

TEST(TargetControlTest, RestsWithinTheDeadBandButMovesWellIntoIt) {
  const std::uint64_t band = DeadBandBytes(kLimit);
  for (const std::uint64_t used : {2048 * kMiB - band + 1, 2048 * kMiB + band - 1}) {
    EXPECT_EQ(NextCorrection(Used(used), 500 * kMiB, kHalf, kSettings, false).move_bytes, 0);
    EXPECT_NE(NextCorrection(Used(used), 500 * kMiB, kHalf, kSettings, true).move_bytes, 0);
  }
  EXPECT_EQ(NextCorrection(Used(2048 * kMiB - band / 5), 500 * kMiB, kHalf, kSettings, true).move_bytes, 0);
  EXPECT_NE(NextCorrection(Used(2048 * kMiB + band + 1), 500 * kMiB, kHalf, kSettings, false).move_bytes, 0);
}

TEST(TargetControlTest, GivesBackNoMoreThanIsHeld) {
  EXPECT_EQ(NextCorrection(Used(3000 * kMiB), 1000 * kMiB, kHalf, kSettings, true).move_bytes,
            -static_cast<std::int64_t>(476 * kMiB));
  EXPECT_EQ(NextCorrection(Used(3000 * kMiB), 100 * kMiB, kHalf, kSettings, true).move_bytes,
            -static_cast<std::int64_t>(100 * kMiB));
  const Correction none = NextCorrection(Used(3000 * kMiB), 0, kHalf, kSettings, true);
  EXPECT_EQ(none.move_bytes, 0);
  EXPECT_EQ(none.bound, Correction::Bound::kNothingHeld);
}

TEST(TargetControlTest, AllocatesNothingWhilePausedButGivesBack) {
  ControlSettings paused = kSettings;
  paused.paused = true;
  const Correction growth = NextCorrection(Used(1024 * kMiB), 0, kHalf, paused, true);
  EXPECT_EQ(growth.move_bytes, 0);
  EXPECT_EQ(growth.bound, Correction::Bound::kPaused);
  EXPECT_LT(NextCorrection(Used(3000 * kMiB), 1000 * kMiB, kHalf, paused, true).move_bytes, 0);
}

TEST(TargetControlTest, NeverAllocatesBelowTheFloor) {
  const std::uint64_t at_floor = kLimit - kLimit / 20;
  const Correction close = NextCorrection(Used(at_floor - 5 * kMiB), 0, kLimit, kSettings, true);
  EXPECT_GT(close.move_bytes, 0);
  EXPECT_LE(close.move_bytes, static_cast<std::int64_t>(5 * kMiB + 1));
  const Correction reached = NextCorrection(Used(at_floor), 0, kLimit, kSettings, true);
  EXPECT_EQ(reached.move_bytes, 0);
  EXPECT_EQ(reached.bound, Correction::Bound::kFloor);
  os::MemoryReading outer = Used(1024 * kMiB);
  outer.headroom_bytes = 100 * kMiB;  // the machine has less left than the cgroup
  EXPECT_EQ(NextCorrection(outer, 0, kHalf, kSettings, true).bound, Correction::Bound::kFloor);
}

// Several runners of one device see the same distance at the same time. None knows of the others; together they must
// come to rest.
TEST(TargetControlTest, SeveralLoopsOnOneDeviceDoNotSwing) {
  for (const std::size_t loops : {std::size_t{2}, std::size_t{3}}) {
    std::array<std::uint64_t, 3> held = {900 * kMiB, 900 * kMiB, 900 * kMiB};
    std::uint64_t others = 400 * kMiB;
    const auto used = [&] {
      std::uint64_t sum = others;
      for (std::size_t i = 0; i < loops; ++i) sum += held[i];
      return sum;
    };
    for (int round = 0; round < 100; ++round) {
      if (round == 50) others += 200 * kMiB;  // and again after a disturbance
      const os::MemoryReading reading = Used(used());
      for (std::size_t i = 0; i < loops; ++i) {
        const Correction correction = NextCorrection(reading, held[i], kHalf, kSettings, true);
        held[i] = static_cast<std::uint64_t>(static_cast<std::int64_t>(held[i]) + correction.move_bytes);
      }
      if (round % 50 < 40) continue;
      EXPECT_LE(std::abs(static_cast<double>(used()) / kLimit - 0.5), 0.005) << loops << " loops, round " << round;
    }
  }
}

TEST(LookPeriodTest, SpendsHalfAPercentOfAProcessorWithinItsBounds) {
  using std::chrono::microseconds;
  using std::chrono::milliseconds;
  EXPECT_EQ(LookPeriod(microseconds(100)), milliseconds(20));
  EXPECT_EQ(LookPeriod(microseconds(1)), milliseconds(10));
  EXPECT_EQ(LookPeriod(milliseconds(5)), milliseconds(50));
}

TEST(ChunkTest, IsBoundByTheLimitAndByTime) {
  EXPECT_EQ(ChunkBytes(kLimit, 0), 1 * kMiB);
  EXPECT_EQ(ChunkBytes(kLimit, 1e12), 16 * kMiB);
  EXPECT_EQ(ChunkBytes(1024 * kLimit, 1e12), 64 * kMiB);
  EXPECT_EQ(ChunkBytes(64 * kMiB, 1e12), 1 * kMiB);
  EXPECT_EQ(ChunkBytes(kLimit, 200e6), 4'000'000U);
  EXPECT_EQ(ChunkBytes(kLimit, 1e6), 1 * kMiB);
}

}  // namespace
}  // namespace ballast::pressure
