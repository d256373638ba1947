#include "worker/pressure/hot_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <random>

#include "common/base/clock.h"

namespace ballast::pressure {
namespace {

constexpr std::size_t kMiB = 1U << 20U;

TEST(HotSetOfTest, IsWhatTheWorkloadSays) {
  v1::PressureWorkload workload;
  workload.mutable_burst()->set_target_percent(70);
  EXPECT_FALSE(HotSetOf(workload).has_value());
  workload.mutable_hot_set()->set_percent(30);
  EXPECT_EQ(HotSetOf(workload)->percent(), 30);
  workload.mutable_burst()->mutable_target_psi();
  EXPECT_EQ(HotSetOf(workload)->percent(), 30);
}

TEST(HotSetOfTest, IsAllPagesOnceASecondForAStall) {
  v1::PressureWorkload workload;
  workload.mutable_burst()->mutable_target_psi();
  const auto hot = HotSetOf(workload);
  ASSERT_TRUE(hot.has_value());
  EXPECT_EQ(hot->percent(), 100);
  EXPECT_EQ(base::FromProto(hot->interval()), std::chrono::seconds(1));
}

class HotMemoryTest : public ::testing::TestWithParam<v1::MemoryKind> {};

// Touching a page that is gone would end the process.
TEST_P(HotMemoryTest, OnlyHeldPagesAreTouchedWhileMemoryMoves) {
  HeldMemoryOptions options;
  options.content.set_kind(v1::PageContent::RANDOM);
  options.kind = GetParam();
  options.scratch_dir = std::filesystem::current_path();
  auto memory = HeldMemory::Create(options);
  ASSERT_TRUE(memory.ok()) << memory.status();
  v1::HotSet settings;
  settings.set_percent(100);
  *settings.mutable_interval() = base::ToProto(std::chrono::milliseconds(50));
  auto hot_set = HotSet::Start(settings, HotSet::Touch::kRead);
  ASSERT_TRUE(hot_set.ok()) << hot_set.status();
  {
    HotMemory hot(memory->get(), hot_set->get(), false);
    std::mt19937 random(1);
    const auto begun = base::RealClock().Monotonic();
    while (base::RealClock().Monotonic() - begun < std::chrono::milliseconds(600)) {
      ASSERT_TRUE(hot.Grow(random() % (2 * kMiB), {}).ok());
      hot.Shrink(hot.held_bytes() > 16 * kMiB ? random() % (16 * kMiB) : random() % kMiB, [] {});
    }
    hot.Shrink(hot.held_bytes(), [] {});
    EXPECT_EQ(hot.held_bytes(), 0U);
  }
  const std::uint64_t touched = (*hot_set)->report().touched_pages;
  EXPECT_GT(touched, 0U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, HotMemoryTest, ::testing::Values(v1::ANONYMOUS, v1::SHARED, v1::FILE_CACHE),
                         [](const auto& kind) { return v1::MemoryKind_Name(kind.param); });

}  // namespace
}  // namespace ballast::pressure
