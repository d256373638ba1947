#include "worker/pressure/pattern_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/clock.h"

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;

v1::StaircasePattern Stairs(std::uint64_t bytes, nanoseconds interval, std::uint32_t steps) {
  v1::StaircasePattern pattern;
  pattern.set_step_size_bytes(bytes);
  *pattern.mutable_interval() = base::ToProto(interval);
  pattern.set_steps(steps);
  return pattern;
}

TEST(StaircaseCurveTest, AStepAtOnceAndThenOneEachInterval) {
  const v1::StaircasePattern pattern = Stairs(100, milliseconds(500), 4);
  EXPECT_EQ(StepsBegun(pattern, nanoseconds(-1)), 0U);
  EXPECT_EQ(StepsBegun(pattern, nanoseconds(0)), 1U);
  EXPECT_EQ(StepsBegun(pattern, milliseconds(499)), 1U);
  EXPECT_EQ(StepsBegun(pattern, milliseconds(500)), 2U);
  EXPECT_EQ(StepsBegun(pattern, milliseconds(1500)), 4U);
  EXPECT_EQ(StepsBegun(pattern, seconds(1000)), 4U);
  EXPECT_EQ(StepBegin(pattern, 1), nanoseconds(0));
  EXPECT_EQ(StepBegin(pattern, 4), milliseconds(1500));
  EXPECT_EQ(StepTarget(pattern, 3), 300U);
}

TEST(StaircaseCurveTest, GreatestFiguresDoNotOverflow) {
  const v1::StaircasePattern pattern =
      Stairs(std::numeric_limits<std::uint64_t>::max() / 2, std::chrono::hours(24), 1000000);
  EXPECT_EQ(StepTarget(pattern, 1000000), std::numeric_limits<std::uint64_t>::max());
  EXPECT_GT(StepBegin(pattern, 1000000), std::chrono::hours(24 * 365));
  EXPECT_EQ(StepsBegun(Stairs(1, nanoseconds(0), 7), seconds(1)), 7U);
}

v1::SawtoothPattern Saw() {
  v1::SawtoothPattern pattern;
  pattern.set_min_percent(30);
  pattern.set_max_percent(70);
  pattern.set_cycles(3);
  *pattern.mutable_cycle_duration() = base::ToProto(seconds(10));
  return pattern;
}

TEST(SawtoothCurveTest, UpAndDownOnceInACycle) {
  const v1::SawtoothPattern pattern = Saw();
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(-1)), 30);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(0)), 30);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, milliseconds(2500)), 50);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(5)), 70);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, milliseconds(7500)), 50);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(10)), 30);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(25)), 70);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(30)), 30);
  EXPECT_DOUBLE_EQ(SawtoothPercent(pattern, seconds(35)), 30);
}

TEST(SawtoothCurveTest, CountsCycles) {
  const v1::SawtoothPattern pattern = Saw();
  EXPECT_EQ(CyclesCompleted(pattern, seconds(-5)), 0U);
  EXPECT_EQ(CyclesCompleted(pattern, milliseconds(9999)), 0U);
  EXPECT_EQ(CyclesCompleted(pattern, seconds(10)), 1U);
  EXPECT_EQ(CyclesCompleted(pattern, seconds(300)), 3U);
  EXPECT_EQ(CyclesDuration(pattern), seconds(30));
}

v1::TracePattern Curve() {
  v1::TracePattern trace;
  const auto add = [&](seconds at) {
    v1::TracePoint* const point = trace.add_points();
    *point->mutable_offset() = base::ToProto(at);
    return point;
  };
  add(seconds(2))->set_used_percent(50);
  add(seconds(4))->set_used_percent(100);
  add(seconds(8))->set_used_bytes(1000);
  return trace;
}

TEST(TraceTest, IsLinearBetweenItsPoints) {
  const v1::TracePattern trace = Curve();
  EXPECT_TRUE(CheckTrace(trace).ok());
  EXPECT_EQ(TraceDuration(trace), seconds(6));
  EXPECT_EQ(TraceBytes(trace, seconds(-1), 4000), 2000U);
  EXPECT_EQ(TraceBytes(trace, seconds(0), 4000), 2000U);
  EXPECT_EQ(TraceBytes(trace, milliseconds(500), 4000), 2500U);
  EXPECT_EQ(TraceBytes(trace, seconds(2), 4000), 4000U);
  EXPECT_EQ(TraceBytes(trace, seconds(4), 4000), 2500U) << "from a share of the limit to bytes";
  EXPECT_EQ(TraceBytes(trace, seconds(6), 4000), 1000U);
  EXPECT_EQ(TraceBytes(trace, seconds(60), 4000), 1000U);
}

TEST(TraceTest, SaysWhatIsWrongAndWhere) {
  v1::TracePattern trace;
  EXPECT_THAT(std::string(CheckTrace(trace).message()), HasSubstr("0 points"));
  trace = Curve();
  trace.mutable_points(1)->clear_used();
  EXPECT_THAT(std::string(CheckTrace(trace).message()), HasSubstr("point 2 of the trace says no memory in use"));
  trace = Curve();
  *trace.mutable_points(2)->mutable_offset() = base::ToProto(seconds(4));
  EXPECT_THAT(std::string(CheckTrace(trace).message()), HasSubstr("point 3 of the trace is at 4.0 s"));
}

TEST(PlannedDurationTest, AddsUpWhatIsPlanned) {
  v1::PressureWorkload workload;
  *workload.mutable_baseline() = base::ToProto(seconds(1));
  *workload.mutable_recovery() = base::ToProto(seconds(2));
  EXPECT_FALSE(PlannedDuration(workload, seconds(0)).has_value());
  *workload.mutable_staircase() = Stairs(100, milliseconds(500), 4);
  EXPECT_THAT(PlannedDuration(workload, seconds(9)), Optional(Eq(seconds(5))));
  *workload.mutable_burst()->mutable_duration() = base::ToProto(seconds(5));
  EXPECT_THAT(PlannedDuration(workload, seconds(9)), Optional(Eq(seconds(17))));
  *workload.mutable_sawtooth() = Saw();
  EXPECT_THAT(PlannedDuration(workload, seconds(9)), Optional(Eq(seconds(42))));
  workload.mutable_allocate_full()->set_until(v1::AllocateFullPattern::FLOOR);
  *workload.mutable_allocate_full()->mutable_hold() = base::ToProto(seconds(4));
  EXPECT_THAT(PlannedDuration(workload, seconds(9)), Optional(Eq(seconds(16))));
  workload.mutable_allocate_full()->set_until(v1::AllocateFullPattern::OOM);
  EXPECT_FALSE(PlannedDuration(workload, seconds(9)).has_value());
  *workload.mutable_trace() = Curve();
  EXPECT_THAT(PlannedDuration(workload, seconds(9)), Optional(Eq(seconds(18))));
}

TEST(PercentTest, IsAShareOfTheLimit) {
  EXPECT_EQ(BytesOfPercent(4096, 50), 2048U);
  EXPECT_EQ(BytesOfPercent(4096, 100), 4096U);
  EXPECT_EQ(BytesOfPercent(4096, 101), 4096U);
  EXPECT_EQ(BytesOfPercent(4096, 0), 0U);
  EXPECT_EQ(BytesOfPercent(4096, -5), 0U);
  EXPECT_EQ(BytesOfPercent(4096, std::nan("")), 0U);
  EXPECT_EQ(BytesOfPercent(std::numeric_limits<std::uint64_t>::max(), 100), std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace ballast::pressure
