#include "cli/memory_curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "common/base/clock.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;

// The greatest distance of the curve's values from the lines between the thinned points.
double Deviation(const MemoryCurve& curve, const MemoryCurve& thinned) {
  double deviation = 0;
  std::size_t segment = 0;
  for (const auto& point : curve.points) {
    while (thinned.points[segment + 1].offset < point.offset) ++segment;
    const auto& from = thinned.points[segment];
    const auto& to = thinned.points[segment + 1];
    const double share = base::ToSeconds(point.offset - from.offset) / base::ToSeconds(to.offset - from.offset);
    deviation = std::max(deviation, std::abs(point.value - std::lerp(from.value, to.value, share)));
  }
  return deviation;
}

MemoryCurve Recorded(std::size_t points, double (*value)(std::size_t)) {
  MemoryCurve curve;
  for (std::size_t i = 0; i < points; ++i) curve.points.push_back({milliseconds(100 * i + 7), value(i)});
  return curve;
}

TEST(MemoryCurveTest, AShortCurveStaysAsItIs) {
  const MemoryCurve curve = Recorded(5, [](std::size_t i) { return static_cast<double>(i % 2); });
  const ThinnedCurve thinned = ThinCurve(curve, 5);
  EXPECT_EQ(thinned.curve.points.size(), 5U);
  EXPECT_EQ(thinned.deviation, 0);
}

TEST(MemoryCurveTest, StraightPartsNeedOnlyTheirEnds) {
  const MemoryCurve curve = Recorded(1001, [](std::size_t i) { return i < 500 ? static_cast<double>(i) : 500.0; });
  const ThinnedCurve thinned = ThinCurve(curve, 10);
  ASSERT_EQ(thinned.curve.points.size(), 3U);
  EXPECT_EQ(thinned.curve.points[1].value, 500);
  EXPECT_EQ(thinned.curve.points.front().offset, curve.points.front().offset);
  EXPECT_EQ(thinned.curve.points.back().offset, curve.points.back().offset);
  EXPECT_EQ(thinned.deviation, 0);
}

TEST(MemoryCurveTest, APeakOfASinglePointStays) {
  const MemoryCurve curve = Recorded(30'000, [](std::size_t i) {
    return 40 + 20 * std::sin(static_cast<double>(i) / 500) + (i == 12'345 ? 15.0 : 0.0);
  });
  const ThinnedCurve thinned = ThinCurve(curve, 300);
  ASSERT_LE(thinned.curve.points.size(), 300U);
  EXPECT_TRUE(std::ranges::any_of(thinned.curve.points,
                                  [&](const auto& point) { return point.value == curve.points[12'345].value; }));
  EXPECT_LE(Deviation(curve, thinned.curve), thinned.deviation * (1 + 1e-6));
  EXPECT_LT(thinned.deviation, 0.1);
}

TEST(MemoryCurveTest, NoiseIsThinnedToTheNumberAndWithinTheDeviationThatIsTold) {
  std::mt19937 random(7);
  MemoryCurve curve{.unit = MemoryCurve::Unit::kBytes, .points = {}};
  std::chrono::nanoseconds offset{0};
  for (int i = 0; i < 20'000; ++i) {
    offset += milliseconds(1 + random() % 500);
    curve.points.push_back({offset, static_cast<double>(random())});
  }
  for (const std::size_t most : {2U, 3U, 100U, 5000U, 19'999U}) {
    const ThinnedCurve thinned = ThinCurve(curve, most);
    EXPECT_LE(thinned.curve.points.size(), most);
    EXPECT_GE(thinned.curve.points.size(), 2U);
    EXPECT_LE(Deviation(curve, thinned.curve), thinned.deviation * (1 + 1e-6));
    EXPECT_EQ(thinned.curve.points.back().offset, offset);
  }
}

TEST(MemoryCurveTest, TracesBeginAtZeroInTheirOwnUnit) {
  MemoryCurve curve{.points = {{milliseconds(1500), 30}, {milliseconds(2500), 45.5}}};
  v1::TracePattern trace;
  FillTracePoints(curve, &trace);
  ASSERT_EQ(trace.points_size(), 2);
  EXPECT_EQ(base::FromProto(trace.points(0).offset()), milliseconds(0));
  EXPECT_EQ(base::FromProto(trace.points(1).offset()), milliseconds(1000));
  EXPECT_EQ(trace.points(1).used_percent(), 45.5);
  curve.unit = MemoryCurve::Unit::kBytes;
  FillTracePoints(curve, &trace);
  ASSERT_EQ(trace.points_size(), 2);
  EXPECT_EQ(trace.points(0).used_bytes(), 30U);
}

}  // namespace
}  // namespace ballast::cli
