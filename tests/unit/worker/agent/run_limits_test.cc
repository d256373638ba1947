#include "worker/agent/run_limits.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

v1::Workload Pressure(seconds baseline, seconds recovery) {
  v1::Workload workload;
  *workload.mutable_pressure()->mutable_baseline() = base::ToProto(baseline);
  *workload.mutable_pressure()->mutable_recovery() = base::ToProto(recovery);
  return workload;
}

TEST(RunLimitsTest, ThePlanIsWhatThePatternAsksFor) {
  v1::Workload workload = Pressure(seconds(1), seconds(2));
  EXPECT_EQ(PlannedDuration(workload), seconds(3));
  workload.mutable_pressure()->mutable_staircase()->set_steps(5);
  *workload.mutable_pressure()->mutable_staircase()->mutable_interval() = base::ToProto(seconds(4));
  EXPECT_EQ(PlannedDuration(workload), seconds(23));
  *workload.mutable_pressure()->mutable_burst()->mutable_duration() = base::ToProto(seconds(7));
  EXPECT_EQ(PlannedDuration(workload), seconds(10));
  workload.mutable_pressure()->mutable_sawtooth()->set_cycles(3);
  *workload.mutable_pressure()->mutable_sawtooth()->mutable_cycle_duration() = base::ToProto(seconds(10));
  EXPECT_EQ(PlannedDuration(workload), seconds(33));
  *workload.mutable_pressure()->mutable_allocate_full()->mutable_hold() = base::ToProto(seconds(5));
  EXPECT_EQ(PlannedDuration(workload), seconds(8));
  EXPECT_EQ(PlannedDuration(v1::Workload()), seconds(0));
}

TEST(RunLimitsTest, ALongPlanDoesNotOverflow) {
  v1::Workload workload = Pressure(seconds(0), seconds(0));
  workload.mutable_pressure()->mutable_staircase()->set_steps(1'000'000);
  *workload.mutable_pressure()->mutable_staircase()->mutable_interval() = base::ToProto(hours(24));
  EXPECT_EQ(PlannedDuration(workload), hours(24 * 365));
  v1::JobSpec spec;
  *spec.mutable_workload() = workload;
  EXPECT_GT(RunTimeout(spec, PlannedDuration(workload)), hours(24 * 365));
}

TEST(RunLimitsTest, TheTimeoutIsThePolicysOrThreePlansAndTenMinutes) {
  v1::JobSpec spec;
  EXPECT_EQ(RunTimeout(spec, seconds(60)), minutes(13));
  *spec.mutable_policy()->mutable_timeout() = base::ToProto(seconds(9));
  EXPECT_EQ(RunTimeout(spec, seconds(60)), seconds(9));
}

TEST(RunLimitsTest, LoadsOfModelsHaveTheirOwnTimeOnTop) {
  v1::JobSpec spec;
  v1::QuantizationWorkload* const workload = spec.mutable_workload()->mutable_quantization();
  *workload->mutable_load()->mutable_timeout() = base::ToProto(minutes(2));
  workload->add_quant_levels("Q2_K");
  workload->add_quant_levels("Q6_K");
  workload->set_loads_per_level(3);
  EXPECT_EQ(RunTimeout(spec, seconds(0)), minutes(10 + 12));
}

}  // namespace
}  // namespace ballast::agent
