#include "worker/guard/guard_policy.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using A = v1::GuardAct;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLimit = 4000 * kMiB;
constexpr milliseconds kStep(20);

// A quiet device with a load of three quarters of its memory.
Readings Quiet() {
  Readings readings;
  readings.available_bytes = kLimit / 5;
  readings.limit_bytes = kLimit;
  readings.has_psi = true;
  readings.psi_full_percent = 0;
  readings.psi_some_percent = 0;
  readings.swap_in_bytes_per_second = 0;
  readings.refault_bytes_per_second = 0;
  readings.held_bytes = 3000 * kMiB;
  return readings;
}

class GuardPolicyTest : public ::testing::Test {
 protected:
  // Feeds what `change` makes of a quiet device for a while; returns the acts.
  std::vector<Act> Feed(nanoseconds duration, const std::function<void(Readings*)>& change) {
    std::vector<Act> acts;
    for (const nanoseconds end = now_ + duration; now_ < end; now_ += kStep) {
      Readings readings = Quiet();
      readings.time = now_;
      change(&readings);
      if (const auto act = policy_.Next(readings)) acts.push_back(*act);
    }
    return acts;
  }
  static std::vector<A::Action> Actions(const std::vector<Act>& acts) {
    std::vector<A::Action> actions;
    for (const Act& act : acts) actions.push_back(act.action);
    return actions;
  }
  static std::function<void(Readings*)> Available(double percent) {
    return [percent](Readings* r) {
      r->available_bytes = static_cast<std::uint64_t>(percent / 100 * static_cast<double>(kLimit));
    };
  }
  static std::function<void(Readings*)> Stalled(double full_percent) {
    return [full_percent](Readings* r) { r->psi_full_percent = r->psi_some_percent = full_percent; };
  }
  static void Nothing(Readings* /*unused*/) {}

  GuardPolicy policy_{Thresholds{}};
  nanoseconds now_ = seconds(1000);
};

TEST_F(GuardPolicyTest, AQuietDeviceIsLeftAlone) {
  EXPECT_TRUE(Feed(seconds(600), Nothing).empty());
  EXPECT_FALSE(policy_.tense());
}

TEST_F(GuardPolicyTest, ALoadThatCannotBecomeSmallerIsAskedToReleaseAll) {
  Thresholds thresholds;
  thresholds.can_shrink = false;
  policy_ = GuardPolicy(thresholds);
  const auto acts = Feed(milliseconds(100), Available(2));
  ASSERT_FALSE(acts.empty());
  EXPECT_EQ(acts.front().action, A::RELEASE_ASKED);
}

TEST_F(GuardPolicyTest, ALoadThatCannotBeEndedIsAskedAgainAndAgain) {
  Thresholds thresholds;
  thresholds.can_end = false;
  policy_ = GuardPolicy(thresholds);
  const auto nothing_held_and_nothing_left = [](Readings* r) {
    r->available_bytes = kMiB;
    r->held_bytes = kMiB;
  };
  EXPECT_EQ(Actions(Feed(seconds(12), nothing_held_and_nothing_left)),
            std::vector<A::Action>({A::SHRINK_ASKED, A::SHRINK_ASKED, A::SHRINK_ASKED}))
      << "every five seconds";
}

TEST_F(GuardPolicyTest, FreeSwapCountsWhereTheLoadIsToStall) {
  const auto full_but_for_swap = [](Readings* r) {
    Available(1)(r);
    r->free_swap_bytes = kLimit / 4;
  };
  EXPECT_FALSE(Feed(milliseconds(100), full_but_for_swap).empty());
  Thresholds thresholds;
  thresholds.free_swap_counts = true;
  policy_ = GuardPolicy(thresholds);
  EXPECT_TRUE(Feed(seconds(10), full_but_for_swap).empty());
}

TEST_F(GuardPolicyTest, TheLoadsOwnFloorIsNoReasonToAct) {
  EXPECT_TRUE(Feed(seconds(600), Available(4.9)).empty());
}

TEST_F(GuardPolicyTest, WarnsNearAThresholdAtMostOnceInTenSecondsASignal) {
  const auto acts = Feed(seconds(25), [](Readings* r) {
    Available(3)(r);
    Stalled(35)(r);
  });
  ASSERT_EQ(acts.size(), 6U);  // at 0, 10 and 20 s, for each of two signals
  EXPECT_EQ(acts[0].action, A::WARNED);
  EXPECT_EQ(acts[0].signal, A::AVAILABLE_MEMORY);
  EXPECT_EQ(acts[0].value, kLimit * 3 / 100);
  EXPECT_EQ(acts[0].threshold, kLimit / 40);
  EXPECT_EQ(acts[1].signal, A::PSI_FULL);
  EXPECT_EQ(acts[1].value, 35);
  EXPECT_EQ(acts[1].threshold, 40);
  EXPECT_EQ(acts[2].time - acts[0].time, seconds(10));
}

TEST_F(GuardPolicyTest, AvailableMemoryActsAtOnceAndAsksForEnoughToBeClear) {
  const nanoseconds crossed = now_;
  const auto acts = Feed(kStep, Available(2.4));
  ASSERT_EQ(Actions(acts), std::vector{A::SHRINK_ASKED});
  EXPECT_EQ(acts[0].time, crossed);
  EXPECT_NEAR(static_cast<double>(acts[0].shrink_bytes), 0.036 * static_cast<double>(kLimit), 1);  // up to 6 %
  EXPECT_GE(acts[0].pause, seconds(5));
  EXPECT_TRUE(Feed(seconds(300), Nothing).empty()) << "the shrink was enough";
}

TEST_F(GuardPolicyTest, NeverAsksForMoreThanIsHeld) {
  const auto acts = Feed(kStep, [](Readings* r) {
    Available(2.4)(r);
    r->held_bytes = 100 * kMiB;
  });
  ASSERT_EQ(acts.size(), 1U);
  EXPECT_EQ(acts[0].shrink_bytes, 100 * kMiB);
}

TEST_F(GuardPolicyTest, AShrinkThatDoesNotHelpIsFollowedByTheRelease) {
  const auto acts = Feed(milliseconds(700), Available(2.4));
  ASSERT_EQ(Actions(acts), (std::vector{A::SHRINK_ASKED, A::RELEASE_ASKED}));
  EXPECT_GE(acts[1].time - acts[0].time, milliseconds(500));
  EXPECT_LE(acts[1].time - acts[0].time, milliseconds(500) + 2 * kStep);
}

TEST_F(GuardPolicyTest, ASecondCrossingWithinAMinuteEndsTheLoad) {
  ASSERT_EQ(Actions(Feed(kStep, Available(2.4))), std::vector{A::SHRINK_ASKED});
  ASSERT_TRUE(Feed(seconds(30), Nothing).empty());
  EXPECT_EQ(Actions(Feed(kStep, Available(2.4))), std::vector{A::RELEASE_ASKED});
}

TEST_F(GuardPolicyTest, ASecondCrossingLaterIsAFirstOneAgain) {
  ASSERT_EQ(Actions(Feed(kStep, Available(2.4))), std::vector{A::SHRINK_ASKED});
  ASSERT_TRUE(Feed(seconds(61), Nothing).empty());
  EXPECT_EQ(Actions(Feed(kStep, Available(2.4))), std::vector{A::SHRINK_ASKED});
}

TEST_F(GuardPolicyTest, NoFlappingAroundAThreshold) {
  // In and out of it every tenth of a second: one shrink, and the release that follows from not being clear of it.
  int i = 0;
  const auto acts = Feed(seconds(10), [&i](Readings* r) { Available(i++ / 5 % 2 == 0 ? 2.4 : 2.6)(r); });
  EXPECT_EQ(Actions(acts).front(), A::SHRINK_ASKED);
  EXPECT_EQ(std::ranges::count(Actions(acts), A::SHRINK_ASKED), 1);
  EXPECT_EQ(std::ranges::count(Actions(acts), A::RELEASE_ASKED), 1);
}

TEST_F(GuardPolicyTest, HardlyAnyMemoryLeftEndsTheLoadAtOnce) {
  EXPECT_EQ(Actions(Feed(kStep, Available(0.5))), std::vector{A::RELEASE_ASKED});
}

TEST_F(GuardPolicyTest, HardlyAnyMemoryLeftDoesNotWaitForAShrink) {
  ASSERT_EQ(Actions(Feed(kStep, Available(2.4))), std::vector{A::SHRINK_ASKED});
  EXPECT_EQ(Actions(Feed(kStep, Available(0.5))), std::vector{A::RELEASE_ASKED});
}

TEST_F(GuardPolicyTest, StallsMustLast) {
  EXPECT_EQ(Actions(Feed(milliseconds(1900), Stalled(60))), std::vector{A::WARNED});
  EXPECT_TRUE(Feed(seconds(5), Nothing).empty());
  const nanoseconds begun = now_;
  const auto acts = Feed(milliseconds(2100), Stalled(60));
  ASSERT_FALSE(acts.empty());
  EXPECT_EQ(acts.back().action, A::SHRINK_ASKED);
  EXPECT_EQ(acts.back().signal, A::PSI_FULL);
  EXPECT_EQ(acts.back().time - begun, seconds(2));
  EXPECT_EQ(acts.back().shrink_bytes, 3000 * kMiB / 8);
}

TEST_F(GuardPolicyTest, AStallThatDipsALittleLastsAllTheSame) {
  int i = 0;
  const auto acts = Feed(milliseconds(2100), [&i](Readings* r) { Stalled(++i % 10 == 0 ? 36 : 50)(r); });
  EXPECT_EQ(acts.back().action, A::SHRINK_ASKED);
}

TEST_F(GuardPolicyTest, AStallAfterAShrinkMustLastAnewAndThenEndsTheLoad) {
  const auto acts = Feed(milliseconds(5200), Stalled(60));
  ASSERT_EQ(Actions(acts), (std::vector{A::WARNED, A::SHRINK_ASKED, A::RELEASE_ASKED}));
  EXPECT_GE(acts[2].time - acts[1].time, seconds(3));
}

TEST_F(GuardPolicyTest, AStallOfNearlyAllTheTimeEndsTheLoadWithoutAShrink) {
  EXPECT_EQ(Actions(Feed(milliseconds(2100), Stalled(85))), (std::vector{A::WARNED, A::RELEASE_ASKED}));
}

TEST_F(GuardPolicyTest, RatesCountOnlyWhileTasksStall) {
  const auto refaults = [](Readings* r) { r->refault_bytes_per_second = r->swap_in_bytes_per_second = 900e6; };
  EXPECT_TRUE(Feed(seconds(60), refaults).empty()) << "a cache that turns over hurts nobody";
  const auto acts = Feed(seconds(3), [&](Readings* r) {
    refaults(r);
    Stalled(12)(r);
  });
  ASSERT_FALSE(acts.empty());
  EXPECT_EQ(acts.back().action, A::SHRINK_ASKED);
  EXPECT_EQ(acts.back().signal, A::SWAP_IN_RATE);
}

TEST_F(GuardPolicyTest, RatesCountAlwaysWhereTheKernelTellsOfNoStalls) {
  const auto acts = Feed(seconds(3), [](Readings* r) {
    r->has_psi = false;
    r->psi_full_percent.reset();
    r->psi_some_percent.reset();
    r->refault_bytes_per_second = 40.0 * kMiB;
  });
  ASSERT_FALSE(acts.empty());
  EXPECT_EQ(acts.back().action, A::SHRINK_ASKED);
  EXPECT_EQ(acts.back().signal, A::REFAULT_RATE);
}

TEST_F(GuardPolicyTest, ALateGuardActsAtOnceWhereMemoryIsTheReason) {
  const auto late = [](Readings* r) { r->delay = milliseconds(1200); };
  EXPECT_TRUE(Feed(kStep, late).empty()) << "busy processors are not the load's doing";
  const auto acts = Feed(kStep, [&](Readings* r) {
    late(r);
    r->psi_some_percent = 50;
  });
  ASSERT_EQ(Actions(acts), std::vector{A::SHRINK_ASKED});
  EXPECT_EQ(acts[0].signal, A::AGENT_DELAY);
  EXPECT_EQ(acts[0].value, 1200);
  EXPECT_EQ(acts[0].threshold, 1000);
}

TEST_F(GuardPolicyTest, AGuardThatHardlyRunsEndsTheLoad) {
  EXPECT_EQ(Actions(Feed(kStep,
                         [](Readings* r) {
                           r->delay = seconds(4);
                           r->psi_some_percent = 90;
                         })),
            std::vector{A::RELEASE_ASKED});
}

TEST_F(GuardPolicyTest, ALoadThatDoesNotBeginToReleaseIsKilled) {
  const auto acts = Feed(seconds(10), Available(0.5));
  ASSERT_EQ(Actions(acts), (std::vector{A::RELEASE_ASKED, A::KILLED}));
  EXPECT_EQ(acts[1].signal, A::AVAILABLE_MEMORY);
  EXPECT_GE(acts[1].time - acts[0].time, milliseconds(300));
  EXPECT_LE(acts[1].time - acts[0].time, milliseconds(340));
}

TEST_F(GuardPolicyTest, ALoadThatReleasesIsGivenTheTimeItTakes) {
  std::uint64_t held = 3000 * kMiB;
  EXPECT_EQ(Actions(Feed(seconds(3),
                         [&held](Readings* r) {
                           Available(0.5)(r);
                           r->held_bytes = held -= 10 * kMiB;
                         })),
            std::vector{A::RELEASE_ASKED});
  // Gone.
  EXPECT_TRUE(Feed(seconds(60), [](Readings* r) { r->held_bytes.reset(); }).empty());
}

TEST_F(GuardPolicyTest, ALoadThatStopsInMidReleaseIsKilled) {
  const auto acts = Feed(seconds(10), [this](Readings* r) {
    Available(0.5)(r);
    if (now_ > seconds(1000)) r->held_bytes = 2000 * kMiB;
  });
  ASSERT_EQ(Actions(acts), (std::vector{A::RELEASE_ASKED, A::KILLED}));
  EXPECT_EQ(acts[1].held_bytes, 2000 * kMiB);
  EXPECT_GE(acts[1].time - acts[0].time, seconds(1));
  EXPECT_LE(acts[1].time - acts[0].time, milliseconds(1100));
}

TEST_F(GuardPolicyTest, ALoadThatHasReleasedButDoesNotEndIsKilledInTheEnd) {
  const auto acts = Feed(seconds(10), [this](Readings* r) {
    Available(0.5)(r);
    if (now_ > seconds(1000)) r->held_bytes = 8 * kMiB;
  });
  ASSERT_EQ(Actions(acts), (std::vector{A::RELEASE_ASKED, A::KILLED}));
  EXPECT_GE(acts[1].time - acts[0].time, seconds(5));
}

TEST_F(GuardPolicyTest, WarnsButLeavesALoadAloneThatHoldsNothing) {
  const auto acts = Feed(seconds(5), [](Readings* r) {
    Available(0.5)(r);
    r->held_bytes = 8 * kMiB;
  });
  EXPECT_EQ(Actions(acts), std::vector{A::WARNED});
}

TEST_F(GuardPolicyTest, AMinimumOfNothingIsNeverCrossed) {
  Thresholds thresholds;
  thresholds.min_available_percent = 0;
  policy_ = GuardPolicy(thresholds);
  EXPECT_TRUE(Feed(seconds(5), Available(0)).empty());
}

}  // namespace
}  // namespace ballast::guard
