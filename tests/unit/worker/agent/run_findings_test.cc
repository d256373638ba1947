#include "worker/agent/run_findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using std::chrono::milliseconds;
using std::chrono::seconds;

class RunFindingsTest : public testing::Test {
 protected:
  void BeginPhase(v1::Phase::Kind kind, milliseconds at, double target = 0) {
    v1::RunnerReport report;
    report.mutable_phase()->set_kind(kind);
    *report.mutable_phase()->mutable_start_offset() = base::ToProto(at);
    report.mutable_phase()->set_target_percent(target);
    findings_.AddReport(report);
  }
  void Sample(milliseconds at, double used_percent, std::int64_t resident = metrics::kAbsent) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[IndexOf(MetricId::kMemUsedPercent)] = static_cast<std::int64_t>(used_percent * 1000);
    row[IndexOf(MetricId::kRunnerResidentBytes)] = resident;
    findings_.AddSample(at, row);
  }
  void Hold(std::uint64_t bytes, double target = 0) {
    v1::RunnerReport report;
    report.mutable_state()->set_held_bytes(bytes);
    report.mutable_state()->set_target_percent(target);
    findings_.AddReport(report);
  }
  [[nodiscard]] v1::RunResult Result() const {
    v1::RunResult result;
    findings_.Fill(&result);
    return result;
  }

  RunFindings findings_;
};

TEST_F(RunFindingsTest, PhasesFollowEachOther) {
  BeginPhase(v1::Phase::BASELINE, milliseconds(0));
  BeginPhase(v1::Phase::RAMP, milliseconds(1000));
  EXPECT_EQ(findings_.current_phase(), v1::Phase::RAMP);
  v1::RunnerReport end;
  *end.mutable_finished()->mutable_offset() = base::ToProto(milliseconds(2500));
  findings_.AddReport(end);
  const v1::RunResult result = Result();
  ASSERT_EQ(result.phases_size(), 2);
  EXPECT_EQ(base::FromProto(result.phases(0).end_offset()), milliseconds(1000));
  EXPECT_EQ(base::FromProto(result.phases(1).end_offset()), milliseconds(2500));
}

TEST_F(RunFindingsTest, PhasesOfALoadStandBesideThoseOfThePressure) {
  BeginPhase(v1::Phase::HOLD, milliseconds(1000), 70);
  Sample(milliseconds(1100), 70);
  v1::RunnerReport load;
  load.mutable_phase()->set_kind(v1::Phase::LOAD);
  load.mutable_phase()->set_load_index(1);
  *load.mutable_phase()->mutable_start_offset() = base::ToProto(milliseconds(2000));
  findings_.AddReport(load);
  EXPECT_EQ(findings_.current_phase(), v1::Phase::LOAD);
  EXPECT_EQ(findings_.pressure_phase(), v1::Phase::HOLD);
  EXPECT_EQ(findings_.target_percent(), 70);
  Sample(milliseconds(2500), 90);  // the model, on top
  findings_.EndLoadPhase(milliseconds(3000));
  EXPECT_EQ(findings_.current_phase(), v1::Phase::HOLD);
  BeginPhase(v1::Phase::RELEASE, milliseconds(4000));
  const v1::RunResult result = Result();
  ASSERT_EQ(result.phases_size(), 3);
  EXPECT_EQ(base::FromProto(result.phases(0).end_offset()), milliseconds(4000));
  EXPECT_EQ(base::FromProto(result.phases(1).end_offset()), milliseconds(3000));
  EXPECT_EQ(result.phases(0).hold_quality().sample_count(), 1U) << "what the model takes does not count";
}

TEST_F(RunFindingsTest, APhaseThatWasCutOffHasNoEnd) {
  BeginPhase(v1::Phase::RAMP, milliseconds(0));
  EXPECT_FALSE(Result().phases(0).has_end_offset());
}

TEST_F(RunFindingsTest, AHoldIsJudgedByTheSamplesThatFallIntoIt) {
  BeginPhase(v1::Phase::RAMP, milliseconds(0), 70);
  Sample(milliseconds(500), 30);
  Sample(milliseconds(1000), 69.8);  // in the hold, whose report comes after the sample
  BeginPhase(v1::Phase::HOLD, milliseconds(900), 70);
  Sample(milliseconds(1100), 70.4);
  Sample(milliseconds(1200), 70.9);
  Sample(milliseconds(1300), 72);
  Sample(milliseconds(2000), 40);  // after the hold, whose end is reported after the sample
  BeginPhase(v1::Phase::RELEASE, milliseconds(1900));
  Sample(milliseconds(5000), 20);
  const v1::RunResult result = Result();
  EXPECT_EQ(result.sample_count(), 7U);
  EXPECT_FALSE(result.phases(0).has_hold_quality()) << "a ramp moves towards its target";
  const v1::HoldQuality& quality = result.phases(1).hold_quality();
  EXPECT_EQ(quality.sample_count(), 4U);
  EXPECT_EQ(quality.within_half_point_count(), 2U);
  EXPECT_EQ(quality.within_one_point_count(), 3U);
  EXPECT_DOUBLE_EQ(quality.min_percent(), 69.8);
  EXPECT_DOUBLE_EQ(quality.max_percent(), 72);
  EXPECT_FALSE(result.phases(2).has_hold_quality());
}

TEST_F(RunFindingsTest, AHoldOfBytesIsJudgedInPercentAndTellsTheBytesItTook) {
  v1::RunnerReport report;
  report.mutable_phase()->set_kind(v1::Phase::HOLD);
  report.mutable_phase()->set_target_bytes(500);
  findings_.AddReport(report);
  const auto sample = [this](milliseconds at, double used_percent) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[IndexOf(MetricId::kMemUsedPercent)] = static_cast<std::int64_t>(used_percent * 1000);
    row[IndexOf(MetricId::kMemLimitBytes)] = 1000;
    findings_.AddSample(at, row);
  };
  Hold(300);
  sample(milliseconds(100), 50.4);
  Hold(100);
  sample(milliseconds(200), 49.2);
  Hold(230);
  sample(milliseconds(300), 52);
  const v1::HoldQuality quality = Result().phases(0).hold_quality();
  EXPECT_EQ(quality.sample_count(), 3U);
  EXPECT_EQ(quality.within_half_point_count(), 1U);
  EXPECT_EQ(quality.within_one_point_count(), 2U);
  EXPECT_EQ(quality.min_held_bytes(), 100U);
  EXPECT_EQ(quality.mean_held_bytes(), 210U);
  EXPECT_EQ(quality.max_held_bytes(), 300U);
  EXPECT_FALSE(quality.has_stall());
}

TEST_F(RunFindingsTest, AStallIsJudgedByTheKernelsAverageOnceItHasForgottenTheRamp) {
  v1::RunnerReport report;
  report.mutable_phase()->set_kind(v1::Phase::HOLD);
  report.mutable_phase()->mutable_target_psi()->set_percent(20);
  findings_.AddReport(report);
  EXPECT_TRUE(findings_.target_psi().has_value());
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kMemUsedPercent)] = 97'000;
  findings_.AddSample(seconds(9), row, 80.0);
  findings_.AddSample(seconds(10), row, 14.0);
  findings_.AddSample(seconds(11), row, 25.0);
  findings_.AddSample(seconds(12), row);  // the kernel did not tell
  findings_.AddSample(seconds(13), row, 21.0);
  const v1::HoldQuality quality = Result().phases(0).hold_quality();
  EXPECT_EQ(quality.sample_count(), 5U);
  EXPECT_EQ(quality.within_half_point_count(), 0U);
  EXPECT_EQ(quality.stall().sample_count(), 3U);
  EXPECT_EQ(quality.stall().within_five_points_count(), 2U);
  EXPECT_DOUBLE_EQ(quality.stall().min_percent(), 14);
  EXPECT_DOUBLE_EQ(quality.stall().mean_percent(), 20);
  EXPECT_DOUBLE_EQ(quality.stall().max_percent(), 25);
  BeginPhase(v1::Phase::RELEASE, seconds(14));
  EXPECT_FALSE(findings_.target_psi().has_value());
}

TEST_F(RunFindingsTest, TheLagIsKnownAlsoWhereTheRunnerWasKilled) {
  v1::RunnerReport lag;
  lag.mutable_event()->set_kind(v1::Event::LAGGED);
  lag.mutable_event()->set_value(4096);
  findings_.AddReport(lag);
  EXPECT_EQ(Result().max_lag_bytes(), 4096U);
  v1::RunnerReport end;
  end.mutable_finished()->set_max_lag_bytes(8192);
  findings_.AddReport(end);
  EXPECT_EQ(Result().max_lag_bytes(), 8192U);
}

TEST_F(RunFindingsTest, PeaksAreTheHighestOfAllThatWasSeen) {
  Hold(100);
  Hold(50);
  Sample(milliseconds(0), 10, 900);
  Sample(milliseconds(100), 10, 300);
  v1::RunnerReport step;
  step.mutable_step()->set_held_bytes(80);
  step.mutable_step()->set_resident_bytes(1000);
  findings_.AddReport(step);
  EXPECT_EQ(Result().peak_held_bytes(), 100U);
  EXPECT_EQ(Result().peak_resident_bytes(), 1000U);
  EXPECT_EQ(findings_.held_bytes(), 80U);
}

TEST_F(RunFindingsTest, TheRunnersSumIsTakenWhereItLivesToGiveIt) {
  v1::RunnerReport report;
  v1::RunnerFinished* const finished = report.mutable_finished();
  finished->set_outcome(v1::COMPLETED);
  finished->set_peak_held_bytes(500);
  finished->set_filled_bytes(1000);
  *finished->mutable_fill_time() = base::ToProto(seconds(2));
  *finished->mutable_time_to_target() = base::ToProto(milliseconds(700));
  findings_.AddReport(report);
  EXPECT_EQ(Result().peak_held_bytes(), 500U);
  EXPECT_DOUBLE_EQ(Result().fill_bytes_per_second(), 500);
  EXPECT_EQ(base::FromProto(Result().time_to_target()), milliseconds(700));
  ASSERT_TRUE(findings_.finished().has_value());
}

TEST_F(RunFindingsTest, ARunnerThatWasKilledHasAFillRateAllTheSame) {
  BeginPhase(v1::Phase::RAMP, milliseconds(1000));
  Hold(4000);
  Sample(milliseconds(3000), 50);
  Sample(milliseconds(9000), 50);  // nothing was added in this time
  EXPECT_DOUBLE_EQ(Result().fill_bytes_per_second(), 2000);
  v1::RunnerReport target;
  target.mutable_event()->set_kind(v1::Event::TARGET_REACHED);
  *target.mutable_event()->mutable_offset() = base::ToProto(milliseconds(3100));
  findings_.AddReport(target);
  EXPECT_EQ(base::FromProto(Result().time_to_target()), milliseconds(2100));
}

TEST_F(RunFindingsTest, IsBounded) {
  for (int i = 0; i < 20'100; ++i) BeginPhase(v1::Phase::RAMP, milliseconds(i));
  BeginPhase(v1::Phase::HOLD, milliseconds(30'000));
  EXPECT_EQ(Result().phases_size(), 20'000);
  EXPECT_EQ(findings_.current_phase(), v1::Phase::HOLD);
}

}  // namespace
}  // namespace ballast::agent
