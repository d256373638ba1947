#include "coordinator/report/statistics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::report {
namespace {

TEST(ComputeStatistics, OfNothingIsZero) {
  const v1::FigureStatistics statistics = ComputeStatistics({});
  EXPECT_EQ(statistics.n(), 0);
  EXPECT_EQ(statistics.max(), 0);
}

TEST(ComputeStatistics, OfOneValueIsThatValue) {
  const v1::FigureStatistics statistics = ComputeStatistics({7.5});
  EXPECT_EQ(statistics.n(), 1);
  EXPECT_EQ(statistics.min(), 7.5);
  EXPECT_EQ(statistics.median(), 7.5);
  EXPECT_EQ(statistics.p95(), 7.5);
  EXPECT_EQ(statistics.max(), 7.5);
}

TEST(ComputeStatistics, TakesTheMiddleValueOfAnOddNumber) {
  EXPECT_EQ(ComputeStatistics({9, -1, 4}).median(), 4);
}

TEST(ComputeStatistics, TakesTheMeanOfTheMiddleTwoOfAnEvenNumber) {
  EXPECT_EQ(ComputeStatistics({1, 100, 3, 2}).median(), 2.5);
}

TEST(ComputeStatistics, InterpolatesThe95thPercentileBetweenClosestRanks) {
  // Rank 0.95 * (n - 1): 3.8 of 0…4, and 19 of 0…20.
  EXPECT_DOUBLE_EQ(ComputeStatistics({10, 20, 30, 40, 50}).p95(), 48);
  std::vector<double> values;
  for (int i = 20; i >= 0; --i) values.push_back(i);
  EXPECT_DOUBLE_EQ(ComputeStatistics(values).p95(), 19);
}

TEST(ComputeStatistics, FindsTheExtremes) {
  const v1::FigureStatistics statistics = ComputeStatistics({3, -8, 12, 0});
  EXPECT_EQ(statistics.min(), -8);
  EXPECT_EQ(statistics.max(), 12);
}

}  // namespace
}  // namespace ballast::report
