#include "coordinator/report/soak.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"

namespace ballast::report {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Cycles of a minute each, of which the agent's memory grows by 600 bytes a minute.
std::string Cycles(int first, int count, std::uint64_t agent_bytes) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += fmt::format(
        "cycles {{ index: {} start_offset {{ seconds: {} }} end_offset {{ seconds: {} }} outcome: COMPLETED "
        "agent_resident_bytes: {} runner_resident_bytes: 5000 system_used_bytes: {} load_time {{ nanos: {} }} }}",
        first + i, 60 * i, 60 * i + 60, agent_bytes + 600 * static_cast<std::uint64_t>(i) + (i % 2 == 0 ? 0 : 6),
        90'000 + (i % 2) * 3000, 500'000'000 + (i % 2) * 1'000'000);
  }
  return text;
}

v1::Run SoakInTwoAttempts() {
  return Parse<v1::Run>(fmt::format(R"(
    workload_kind: "stability"
    attempts {{
      attempt: 1
      start_time {{ seconds: 1000 }}
      result {{
        outcome {{ kind: WORKER_CRASHED message: "the agent ended" }} {}
      }}
    }}
    attempts {{
      attempt: 2
      start_time {{ seconds: 1300 }}
      result {{
        outcome {{ kind: COMPLETED }} {}
      }}
    }}
  )",
                                    Cycles(1, 4, 100'000), Cycles(5, 4, 50'000)));
}

TEST(SoakReport, MergesTheCyclesOfAllAttempts) {
  const v1::SoakReport soak = BuildSoakReport(SoakInTwoAttempts());
  ASSERT_EQ(soak.cycles_size(), 8);
  EXPECT_EQ(soak.cycle_count(), 8);
  EXPECT_EQ(soak.survived_count(), 8);
  EXPECT_EQ(soak.cycles(3).end_offset().seconds(), 240);
  EXPECT_EQ(soak.cycles(4).index(), 5);
  EXPECT_EQ(soak.cycles(4).start_offset().seconds(), 300);
  EXPECT_EQ(soak.cycles(4).end_offset().seconds(), 360);
}

TEST(SoakReport, ExplainsTheGapBetweenAttempts) {
  const v1::SoakReport soak = BuildSoakReport(SoakInTwoAttempts());
  ASSERT_EQ(soak.gaps_size(), 1);
  const v1::SoakGap& gap = soak.gaps(0);
  EXPECT_EQ(gap.attempt(), 1);
  EXPECT_EQ(gap.last_cycle(), 4);
  EXPECT_EQ(gap.start_offset().seconds(), 240);
  EXPECT_EQ(gap.end_offset().seconds(), 300);
  EXPECT_EQ(gap.outcome(), v1::WORKER_CRASHED);
  EXPECT_EQ(gap.message(),
            "attempt 1 ended WORKER_CRASHED after cycle 4: the agent ended; attempt 2 went on 1m 00s later");
}

TEST(SoakReport, TellsTrendsWithinTheAttempts) {
  const v1::SoakReport soak = BuildSoakReport(SoakInTwoAttempts());
  ASSERT_EQ(soak.trends_size(), 4);
  const v1::Trend& agent = soak.trends(0);
  EXPECT_EQ(agent.name(), "agent_resident_bytes");
  EXPECT_EQ(agent.n(), 6) << "the first cycle of each attempt is no part of it";
  // Although the agent began anew with half as much.
  EXPECT_NEAR(agent.slope_per_hour(), 36'000, 200);
  EXPECT_TRUE(agent.rises());
  EXPECT_EQ(soak.trends(1).name(), "load_seconds");
  EXPECT_FALSE(soak.trends(1).rises());
  EXPECT_EQ(soak.trends(2).name(), "runner_resident_bytes");
  EXPECT_EQ(soak.trends(2).slope_per_hour(), 0);
  EXPECT_EQ(soak.trends(3).name(), "system_used_bytes");
  EXPECT_FALSE(soak.trends(3).rises());
}

// Of an attempt: its cycles of a minute, with the agent's memory after each.
v1::Run SoakOf(const std::vector<std::vector<std::uint64_t>>& attempts) {
  v1::Run run;
  run.set_workload_kind("stability");
  std::uint32_t index = 0;
  for (const std::vector<std::uint64_t>& cycles : attempts) {
    v1::Attempt& attempt = *run.add_attempts();
    attempt.set_attempt(static_cast<std::uint32_t>(run.attempts_size()));
    attempt.mutable_start_time()->set_seconds(10'000 * run.attempts_size());
    attempt.mutable_result()->mutable_outcome()->set_kind(v1::COMPLETED);
    for (std::size_t i = 0; i < cycles.size(); ++i) {
      v1::StabilityCycle& cycle = *attempt.mutable_result()->add_cycles();
      cycle.set_index(++index);
      cycle.mutable_end_offset()->set_seconds(60 * static_cast<std::int64_t>(i + 1));
      cycle.set_outcome(v1::COMPLETED);
      cycle.set_agent_resident_bytes(cycles[i]);
    }
  }
  return run;
}

// A worker that starts anew takes more in its first cycle and settles elsewhere: neither is a leak.
TEST(SoakReport, ARestartAndAWarmUpAreNoLeak) {
  const v1::SoakReport soak =
      BuildSoakReport(SoakOf({{5000, 9000, 9001, 9000, 9001}, {7000, 16'000, 16'001, 16'000, 16'001}}));
  ASSERT_EQ(soak.trends_size(), 1);
  EXPECT_EQ(soak.trends(0).n(), 8);
  EXPECT_LT(soak.trends(0).low_per_hour(), 0);
  EXPECT_LT(soak.trends(0).slope_per_hour(), 60);
  EXPECT_FALSE(soak.trends(0).rises());
}

TEST(SoakReport, ALeakIsSeenAcrossARestart) {
  const v1::SoakReport soak =
      BuildSoakReport(SoakOf({{40'000, 16'000, 16'101, 16'200, 16'301}, {30'000, 9000, 9101, 9200, 9301}}));
  ASSERT_EQ(soak.trends_size(), 1);
  EXPECT_NEAR(soak.trends(0).slope_per_hour(), 6000, 100);
  EXPECT_TRUE(soak.trends(0).rises());
}

TEST(SoakReport, CountsHowCyclesEnded) {
  const v1::SoakReport soak = BuildSoakReport(Parse<v1::Run>(R"pb(
    attempts {
      attempt: 1
      result {
        cycles {
          index: 1
          outcome: COMPLETED
          agent_resident_bytes: 1
          load_time { seconds: 1 }
        }
        cycles { index: 2 outcome: OOM_KILLED agent_resident_bytes: 1 }
        cycles { index: 3 outcome: CANCELLED }
      }
    }
  )pb"));
  EXPECT_EQ(soak.cycle_count(), 2);
  EXPECT_EQ(soak.survived_count(), 1);
  ASSERT_EQ(soak.outcomes_size(), 3);
  EXPECT_EQ(soak.outcomes(1).outcome(), v1::OOM_KILLED);
  EXPECT_THAT(soak.gaps(), IsEmpty());
  EXPECT_THAT(soak.trends(), IsEmpty());
}

TEST(SoakReport, PutsAnAttemptAfterTheOneBeforeWhereTheClockWasSetBack) {
  v1::Run run = SoakInTwoAttempts();
  run.mutable_attempts(1)->mutable_start_time()->set_seconds(3);
  const v1::SoakReport soak = BuildSoakReport(run);
  EXPECT_EQ(soak.cycles(4).start_offset().seconds(), 240);
  EXPECT_THAT(soak.gaps(0).message(), HasSubstr("went on 0 "));
}

TEST(SoakReport, SurvivesTimesThatCannotBe) {
  v1::Run run = SoakInTwoAttempts();
  for (v1::Attempt& attempt : *run.mutable_attempts()) {
    attempt.mutable_start_time()->set_seconds(attempt.attempt() == 1 ? INT64_MIN : INT64_MAX);
    for (v1::StabilityCycle& cycle : *attempt.mutable_result()->mutable_cycles()) {
      cycle.mutable_start_offset()->set_seconds(INT64_MIN);
      cycle.mutable_end_offset()->set_seconds(INT64_MAX);
    }
  }
  EXPECT_EQ(BuildSoakReport(run).cycles_size(), 8);
}

TEST(SoakReport, HasTheCyclesOfTheAttemptThatGoesOn) {
  v1::Run run = SoakInTwoAttempts();
  run.mutable_attempts(1)->clear_result();
  const std::vector<v1::StabilityCycle> open = {
      Parse<v1::StabilityCycle>("index: 5 end_offset { seconds: 60 } outcome: COMPLETED agent_resident_bytes: 50000")};
  const v1::SoakReport soak = BuildSoakReport(run, open);
  ASSERT_EQ(soak.cycles_size(), 5);
  EXPECT_EQ(soak.cycles(4).end_offset().seconds(), 360);
  EXPECT_EQ(soak.gaps_size(), 1);
}

TEST(SoakReport, OfARunThatHasNotBegunIsEmpty) {
  const v1::SoakReport soak = BuildSoakReport(v1::Run());
  EXPECT_EQ(soak.cycle_count(), 0);
  EXPECT_THAT(soak.outcomes(), IsEmpty());
}

}  // namespace
}  // namespace ballast::report
