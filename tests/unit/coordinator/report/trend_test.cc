#include "coordinator/report/trend.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::report {
namespace {

using testing::DoubleNear;

std::vector<TrendPoint> Points(const std::vector<std::pair<double, double>>& pairs, std::size_t series = 0) {
  std::vector<TrendPoint> points;
  for (const auto& [hours, value] : pairs) points.push_back({.series = series, .hours = hours, .value = value});
  return points;
}

TEST(StudentT95, IsThatOfTheTables) {
  EXPECT_THAT(StudentT95(1), DoubleNear(12.7062, 1e-4));
  EXPECT_THAT(StudentT95(2), DoubleNear(4.3027, 1e-4));
  EXPECT_THAT(StudentT95(3), DoubleNear(3.1824, 1e-4));
  EXPECT_THAT(StudentT95(8), DoubleNear(2.3060, 1e-4));
  EXPECT_THAT(StudentT95(9), DoubleNear(2.2622, 1e-4));
  EXPECT_THAT(StudentT95(30), DoubleNear(2.0423, 1e-4));
  EXPECT_THAT(StudentT95(100), DoubleNear(1.9840, 1e-4));
  EXPECT_THAT(StudentT95(1'000'000), DoubleNear(1.9623, 1e-4));
}

TEST(FitTrend, NeedsThreePointsAtDifferentTimes) {
  EXPECT_FALSE(FitTrend({}).has_value());
  EXPECT_FALSE(FitTrend(Points({{0, 1}, {1, 2}})).has_value());
  EXPECT_FALSE(FitTrend(Points({{1, 1}, {1, 2}, {1, 3}})).has_value());
  EXPECT_TRUE(FitTrend(Points({{0, 1}, {1, 2}, {2, 4}})).has_value());
}

// Example of a textbook: Anscombe's first quartet. slope 0.5001, standard error 0.1179, 9 degrees of freedom.
TEST(FitTrend, IsTheRegressionOfTheTextbook) {
  const auto trend = FitTrend(Points({{10, 8.04},
                                      {8, 6.95},
                                      {13, 7.58},
                                      {9, 8.81},
                                      {11, 8.33},
                                      {14, 9.96},
                                      {6, 7.24},
                                      {4, 4.26},
                                      {12, 10.84},
                                      {7, 4.82},
                                      {5, 5.68}}));
  ASSERT_TRUE(trend.has_value());
  EXPECT_EQ(trend->n(), 11);
  EXPECT_THAT(trend->slope_per_hour(), DoubleNear(0.50009, 1e-5));
  EXPECT_THAT(trend->low_per_hour(), DoubleNear(0.50009 - 2.26216 * 0.11791, 1e-4));
  EXPECT_THAT(trend->high_per_hour(), DoubleNear(0.50009 + 2.26216 * 0.11791, 1e-4));
  EXPECT_TRUE(trend->rises());
}

TEST(FitTrend, RisesOnlyWhereTheWholeIntervalIsAboveZero) {
  const auto noise = FitTrend(Points({{0, 5}, {1, 1}, {2, 6}, {3, 2}, {4, 6}}));
  EXPECT_GT(noise->slope_per_hour(), 0);
  EXPECT_LT(noise->low_per_hour(), 0);
  EXPECT_FALSE(noise->rises());
  EXPECT_FALSE(FitTrend(Points({{0, 5}, {1, 4.1}, {2, 2.9}, {3, 2}}))->rises());
  const auto level = FitTrend(Points({{0, 7}, {1, 7}, {2, 7}}));
  EXPECT_EQ(level->slope_per_hour(), 0);
  EXPECT_FALSE(level->rises());
}

TEST(FitTrend, KeepsSmallSlopesOfLargeValues) {
  std::vector<TrendPoint> points;
  for (int i = 0; i < 100; ++i) points.push_back({.series = 0, .hours = i / 60.0, .value = 4e9 + i % 2 + i});
  EXPECT_THAT(FitTrend(points)->slope_per_hour(), DoubleNear(60, 1));
}

// An agent that begins anew with less memory: without levels of their own the two attempts would show a fall.
TEST(FitTrend, GivesEachSeriesALevelOfItsOwn) {
  auto points = Points({{0, 100}, {1, 102}, {2, 104}}, 1);
  const auto second = Points({{3, 10}, {4, 12.1}, {5, 13.9}}, 2);
  points.insert(points.end(), second.begin(), second.end());
  const auto trend = FitTrend(points);
  EXPECT_THAT(trend->slope_per_hour(), DoubleNear(1.975, 1e-9));
  // −0.025, 0, 0.025 and −0.025, 0.1, −0.075 are left over, with 6 − 2 − 1 = 3 degrees of freedom.
  const double residuals = 3 * 0.025 * 0.025 + 0.1 * 0.1 + 0.075 * 0.075;
  const double error = std::sqrt(residuals / 3 / 4);
  EXPECT_THAT(trend->high_per_hour() - trend->slope_per_hour(), DoubleNear(StudentT95(3) * error, 1e-9));
  EXPECT_TRUE(trend->rises());
}

TEST(FitTrend, NeedsADegreeOfFreedom) {
  auto points = Points({{0, 1}, {1, 2}}, 1);
  points.push_back({.series = 2, .hours = 3, .value = 5});
  EXPECT_FALSE(FitTrend(points).has_value());
  points.push_back({.series = 1, .hours = 2, .value = 3.5});
  EXPECT_TRUE(FitTrend(points).has_value());
}

}  // namespace
}  // namespace ballast::report
