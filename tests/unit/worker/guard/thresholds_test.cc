#include "worker/guard/thresholds.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace ballast::guard {
namespace {

v1::GuardSpec Spec() {
  v1::GuardSpec spec;
  spec.set_mode(v1::GuardSpec::ON);
  spec.set_max_psi_full_percent(40);
  spec.set_max_swap_in_bytes_per_second(32U << 20U);
  spec.set_max_refault_bytes_per_second(16U << 20U);
  *spec.mutable_max_agent_delay() = base::ToProto(std::chrono::seconds(1));
  *spec.mutable_patience() = base::ToProto(std::chrono::seconds(2));
  return spec;
}

TEST(ThresholdsTest, TheMinimumIsHalfTheFloorButNeverMuch) {
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 5, 0).min_available_percent, 2.5);
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 3, 0).min_available_percent, 1.5);
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 20, 0).min_available_percent, 2.5);
  v1::GuardSpec asked = Spec();
  asked.set_min_available_percent(7);
  EXPECT_DOUBLE_EQ(ThresholdsOf(asked, 5, 0).min_available_percent, 7);
}

TEST(ThresholdsTest, AShrinkLeadsClearOfTheMinimumAndOfTheLoadsOwnFloor) {
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 5, 0).clear_available_percent, 6);
  v1::GuardSpec asked = Spec();
  asked.set_min_available_percent(7);
  EXPECT_DOUBLE_EQ(ThresholdsOf(asked, 5, 0).clear_available_percent, 15);
}

TEST(ThresholdsTest, TheRestIsTakenOver) {
  const Thresholds thresholds = ThresholdsOf(Spec(), 5, 0);
  EXPECT_DOUBLE_EQ(thresholds.max_psi_full_percent, 40);
  EXPECT_DOUBLE_EQ(thresholds.stalling_percent, 10);
  EXPECT_DOUBLE_EQ(thresholds.max_swap_in_bytes_per_second, 32U << 20U);
  EXPECT_DOUBLE_EQ(thresholds.max_refault_bytes_per_second, 16U << 20U);
  EXPECT_EQ(thresholds.max_delay, std::chrono::seconds(1));
  EXPECT_EQ(thresholds.patience, std::chrono::seconds(2));
}

TEST(ThresholdsTest, AStallThatIsAskedForIsNotHeldAgainstTheLoad) {
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 5, 20).stalling_percent, 30);
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 5, 20).max_psi_full_percent, 60);
  EXPECT_DOUBLE_EQ(ThresholdsOf(Spec(), 5, 80).max_psi_full_percent, 95);
}

TEST(ThresholdsTest, FreeSwapCountsWhereAStallIsAskedFor) {
  v1::GuardSpec spec;
  EXPECT_FALSE(ThresholdsOf(spec, 5, 0).free_swap_counts);
  EXPECT_TRUE(ThresholdsOf(spec, 5, 20).free_swap_counts);
}

}  // namespace
}  // namespace ballast::guard
