#include "worker/guard/act.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::guard {
namespace {

using testing::HasSubstr;

Act ActOf(v1::GuardAct::Signal signal, double value, double threshold) {
  Act act;
  act.action = v1::GuardAct::SHRINK_ASKED;
  act.signal = signal;
  act.value = value;
  act.threshold = threshold;
  act.limit_bytes = std::uint64_t{4} << 30U;
  act.held_bytes = std::uint64_t{3} << 30U;
  act.shrink_bytes = 100U << 20U;
  act.pause = std::chrono::seconds(5);
  return act;
}

TEST(ActTest, ReadingsStandBesideTheirThresholds) {
  EXPECT_EQ(DescribeReading(ActOf(v1::GuardAct::AVAILABLE_MEMORY, 50.0 * (1 << 20), 100.0 * (1 << 20))),
            "50 MiB available (1.2 % of the limit), the guard's minimum is 100 MiB (2.4 %)");
  EXPECT_EQ(DescribeReading(ActOf(v1::GuardAct::PSI_FULL, 63.4, 40)),
            "every task stalled on memory for 63 % of the time, the guard's maximum is 40 %");
  EXPECT_THAT(DescribeReading(ActOf(v1::GuardAct::SWAP_IN_RATE, 48.0 * (1 << 20), 32.0 * (1 << 20))),
              HasSubstr("48 MiB a second swapped in"));
  EXPECT_THAT(DescribeReading(ActOf(v1::GuardAct::REFAULT_RATE, 48.0 * (1 << 20), 32.0 * (1 << 20))),
              HasSubstr("48 MiB a second of pages came back"));
  EXPECT_THAT(DescribeReading(ActOf(v1::GuardAct::AGENT_DELAY, 1500, 1000)), HasSubstr("was 1.5 s late"));
}

TEST(ActTest, ActsSayWhatWasDoneAndWhy) {
  Act act = ActOf(v1::GuardAct::PSI_FULL, 63.4, 40);
  EXPECT_THAT(DescribeAct(act),
              testing::AllOf(HasSubstr("give back 100 MiB of 3 GiB"), HasSubstr("pause for 5.0 s"), HasSubstr("63 %")));
  act.action = v1::GuardAct::RELEASE_ASKED;
  EXPECT_THAT(DescribeAct(act), HasSubstr("release all of its 3 GiB"));
  act.action = v1::GuardAct::KILLED;
  EXPECT_THAT(DescribeAct(act), HasSubstr("killed the load"));
  act.action = v1::GuardAct::WARNED;
  EXPECT_THAT(DescribeAct(act), HasSubstr("near a limit"));
}

}  // namespace
}  // namespace ballast::guard
