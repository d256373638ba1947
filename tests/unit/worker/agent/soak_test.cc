#include "worker/agent/soak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using std::chrono::seconds;
using testing::HasSubstr;

v1::StabilityWorkload Minute() {
  v1::StabilityWorkload workload;
  *workload.mutable_duration() = base::ToProto(seconds(60));
  return workload;
}

v1::Outcome Ended(v1::OutcomeKind kind) {
  v1::Outcome outcome;
  outcome.set_kind(kind);
  outcome.set_message("so it was");
  return outcome;
}

TEST(SoakTest, GoesOnWhereAnEarlierAttemptStopped) {
  v1::SoakProgress before;
  before.set_cycle_count(4);
  *before.mutable_elapsed() = base::ToProto(seconds(45));
  Soak soak(Minute(), before);
  EXPECT_EQ(soak.planned(), seconds(15));
  EXPECT_TRUE(soak.Continues(seconds(14)));
  EXPECT_FALSE(soak.Continues(seconds(15)));
  soak.BeginCycle(seconds(1));
  EXPECT_EQ(soak.cycle(), 5U);
  soak.EndCycle(seconds(9), Ended(v1::COMPLETED), nullptr, metrics::EmptyRow());
  ASSERT_EQ(soak.cycles().size(), 1U);
  EXPECT_EQ(soak.cycles()[0].index(), 5U);
  EXPECT_THAT(soak.Summary(), HasSubstr("5 cycles"));
  EXPECT_THAT(soak.Summary(), HasSubstr("4 of them in earlier attempts"));
}

TEST(SoakTest, TheEarlierAttemptsMayHaveTakenAllOfTheTime) {
  v1::SoakProgress before;
  *before.mutable_elapsed() = base::ToProto(seconds(61));
  EXPECT_FALSE(Soak(Minute(), before).Continues(seconds(0)));
}

TEST(SoakTest, ACycleHasItsPeaksAndWhatIsLeftAfterwards) {
  Soak soak(Minute(), {});
  soak.BeginCycle(seconds(0));
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kRunnerResidentBytes)] = 100;
  row[IndexOf(MetricId::kLoadResidentBytes)] = 50;
  row[IndexOf(MetricId::kAgentRssBytes)] = 7;
  row[IndexOf(MetricId::kMemLimitBytes)] = 1000;
  row[IndexOf(MetricId::kMemLimitAvailableBytes)] = 400;
  soak.AddSample(row, 90);
  v1::ModelLoadResult load;
  load.mutable_outcome()->set_kind(v1::COMPLETED);
  for (const auto kind :
       {v1::LoadStage::PARSE, v1::LoadStage::LOAD, v1::LoadStage::FIRST_PASS, v1::LoadStage::PASSES}) {
    v1::LoadStage* const stage = load.add_stages();
    stage->set_kind(kind);
    *stage->mutable_duration() = base::ToProto(seconds(2));
  }
  soak.EndCycle(seconds(9), Ended(v1::COMPLETED), &load, row);
  const v1::StabilityCycle& cycle = soak.cycles()[0];
  EXPECT_EQ(cycle.runner_resident_bytes(), 150U);
  EXPECT_EQ(cycle.peak_held_bytes(), 90U);
  EXPECT_EQ(cycle.agent_resident_bytes(), 7U);
  EXPECT_EQ(cycle.system_used_bytes(), 600U);
  EXPECT_EQ(base::FromProto(cycle.load_time()), seconds(6));
  EXPECT_EQ(cycle.outcome(), v1::COMPLETED);
}

TEST(SoakTest, ALoadThatFailedIsTheCyclesEnd) {
  Soak soak(Minute(), {});
  soak.BeginCycle(seconds(0));
  v1::ModelLoadResult load;
  *load.mutable_outcome() = Ended(v1::OOM_KILLED);
  soak.EndCycle(seconds(9), Ended(v1::COMPLETED), &load, metrics::EmptyRow());
  EXPECT_EQ(soak.last_outcome(), v1::OOM_KILLED);
  EXPECT_FALSE(soak.cycles()[0].has_load_time());
  EXPECT_THAT(soak.Summary(), HasSubstr("1 of the last 1 did not complete"));
}

}  // namespace
}  // namespace ballast::agent
