#include "coordinator/report/group_summary.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::report {
namespace {

v1::Run EndedRun(v1::OutcomeKind outcome) {
  v1::Run run;
  run.set_state(v1::Run::ENDED);
  run.mutable_outcome()->set_kind(outcome);
  return run;
}

v1::Figure MakeFigure(const std::string& name, double value) {
  v1::Figure figure;
  figure.set_name(name);
  figure.set_value(value);
  return figure;
}

TEST(GroupAccumulator, SummarizesNothing) {
  const v1::GroupSummary summary = GroupAccumulator().Summarize();
  EXPECT_EQ(summary.run_count(), 0);
  EXPECT_TRUE(summary.outcomes().empty());
  EXPECT_TRUE(summary.figures().empty());
}

TEST(GroupAccumulator, CountsOutcomesInOrderOfTheirKind) {
  GroupAccumulator group;
  group.Add(EndedRun(v1::OOM_KILLED), {});
  group.Add(EndedRun(v1::COMPLETED), {});
  group.Add(EndedRun(v1::OOM_KILLED), {});
  const v1::GroupSummary summary = group.Summarize();
  EXPECT_EQ(summary.run_count(), 3);
  ASSERT_EQ(summary.outcomes_size(), 2);
  EXPECT_EQ(summary.outcomes(0).outcome(), v1::COMPLETED);
  EXPECT_EQ(summary.outcomes(0).count(), 1);
  EXPECT_EQ(summary.outcomes(1).outcome(), v1::OOM_KILLED);
  EXPECT_EQ(summary.outcomes(1).count(), 2);
}

TEST(GroupAccumulator, SumsUpEachFigureOverTheRunsThatHaveIt) {
  GroupAccumulator group;
  group.Add(EndedRun(v1::COMPLETED), std::vector{MakeFigure("b_bytes", 10), MakeFigure("a_count", 1)});
  group.Add(EndedRun(v1::COMPLETED), std::vector{MakeFigure("b_bytes", 30)});
  const v1::GroupSummary summary = group.Summarize();
  ASSERT_EQ(summary.figures_size(), 2);
  EXPECT_EQ(summary.figures(0).name(), "a_count");
  EXPECT_EQ(summary.figures(0).n(), 1);
  EXPECT_EQ(summary.figures(1).name(), "b_bytes");
  EXPECT_EQ(summary.figures(1).n(), 2);
  EXPECT_EQ(summary.figures(1).median(), 20);
}

TEST(GroupAccumulator, CountsAnUnendedRunAndNothingElseOfIt) {
  GroupAccumulator group;
  v1::Run running;
  running.set_state(v1::Run::RUNNING);
  group.Add(running, std::vector{MakeFigure("a_count", 1)});
  const v1::GroupSummary summary = group.Summarize();
  EXPECT_EQ(summary.run_count(), 1);
  EXPECT_TRUE(summary.outcomes().empty());
  EXPECT_TRUE(summary.figures().empty());
}

TEST(GroupAccumulator, CountsARunThatIsLeftOutAndNothingElseOfIt) {
  GroupAccumulator group;
  group.Add(EndedRun(v1::COMPLETED), std::vector{MakeFigure("a_count", 1)}, /*left_out=*/true);
  group.Add(EndedRun(v1::OOM_KILLED), std::vector{MakeFigure("a_count", 3)});
  const v1::GroupSummary summary = group.Summarize();
  EXPECT_EQ(summary.run_count(), 2);
  EXPECT_EQ(summary.invalid_run_count(), 1);
  ASSERT_EQ(summary.outcomes_size(), 1);
  EXPECT_EQ(summary.outcomes(0).outcome(), v1::OOM_KILLED);
  ASSERT_EQ(summary.figures_size(), 1);
  EXPECT_EQ(summary.figures(0).median(), 3);
}

}  // namespace
}  // namespace ballast::report
