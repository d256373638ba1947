#include "worker/memory/controlled_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/config/field_rules.h"
#include "common/config/job_rules.h"

namespace ballast::memory {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::uint64_t kGiB = 1U << 30U;
constexpr TestGround kHalfFull{4 * kGiB, 2 * kGiB};

// The job of a test, which is always a valid one.
v1::JobSpec Job(const ControlledTest& test, const TestGround& ground = kHalfFull) {
  absl::StatusOr<v1::JobSpec> job = JobOf(test, ground);
  EXPECT_TRUE(job.ok()) << job.status();
  config::ApplyDefaults(&*job);
  EXPECT_TRUE(config::Validate(*job).ok()) << config::Validate(*job);
  return *std::move(job);
}

std::string Refusal(const ControlledTest& test, const TestGround& ground = kHalfFull) {
  const absl::Status status = JobOf(test, ground).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(ControlledTestTest, ABurstHoldsTheTarget) {
  const v1::BurstPattern burst =
      Job({.target_percent = 80, .burst_duration = seconds(7)}).workload().pressure().burst();
  EXPECT_EQ(burst.target_percent(), 80);
  EXPECT_EQ(base::FromProto(burst.duration()), seconds(7));
}

TEST(ControlledTestTest, AStaircaseGoesUpToTheTargetInTheTime) {
  const v1::StaircasePattern stairs =
      Job({.test_mode = "staircase", .target_percent = 75, .burst_duration = seconds(10)})
          .workload()
          .pressure()
          .staircase();
  EXPECT_NEAR(static_cast<double>(stairs.steps() * stairs.step_size_bytes()), kGiB, 4096) << "from 50 % to 75 %";
  EXPECT_EQ(base::FromProto(stairs.interval()) * stairs.steps(), seconds(10));
}

TEST(ControlledTestTest, ASawtoothMovesBetweenTheMiddleAndTheTarget) {
  const v1::SawtoothPattern saw = Job({.test_mode = "sawtooth", .target_percent = 70, .burst_duration = seconds(4)})
                                      .workload()
                                      .pressure()
                                      .sawtooth();
  EXPECT_EQ(saw.min_percent(), 60);
  EXPECT_EQ(saw.max_percent(), 70);
  EXPECT_EQ(saw.cycles(), 3U);
  EXPECT_EQ(base::FromProto(saw.cycle_duration()), seconds(4));
  EXPECT_GT(
      Job({.test_mode = "sawtooth", .target_percent = 70}, {kGiB, 0}).workload().pressure().sawtooth().min_percent(), 0)
      << "also on an empty machine";
}

TEST(ControlledTestTest, AllocateFullGoesDownToTheFloorWhateverTheTarget) {
  const v1::PressureWorkload full = Job({.test_mode = "allocate_full", .target_percent = 0.5}).workload().pressure();
  EXPECT_EQ(full.allocate_full().until(), v1::AllocateFullPattern::FLOOR);
  EXPECT_EQ(full.floor_percent(), 5);
  EXPECT_EQ(base::FromProto(full.allocate_full().hold()), seconds(5));
}

TEST(ControlledTestTest, AModelIsLoadedInTheHold) {
  const v1::Workload workload = Job({.model_id = "tiny", .quant = "Q4_0", .target_percent = 60}).workload();
  EXPECT_EQ(workload.model().load().model_id(), "tiny");
  EXPECT_EQ(workload.model().load().quant(), "Q4_0");
  EXPECT_EQ(workload.model().pressure().burst().target_percent(), 60);
}

TEST(ControlledTestTest, AShareInPlaceOfAPercentageIsTold) {
  EXPECT_THAT(Refusal({.target_percent = 0.7}), HasSubstr("percentages are written as 70"));
  EXPECT_THAT(Refusal({.target_percent = 0}), HasSubstr("no percentage"));
  EXPECT_THAT(Refusal({.target_percent = 101}), HasSubstr("no percentage"));
}

TEST(ControlledTestTest, ATargetBelowWhatIsInUseWouldHoldNothing) {
  EXPECT_THAT(Refusal({.test_mode = "staircase", .target_percent = 40}),
              HasSubstr("50.0 % of memory are in use already"));
  EXPECT_THAT(Refusal({.test_mode = "sawtooth", .target_percent = 50}), HasSubstr("raise the target"));
}

TEST(ControlledTestTest, AnUnknownModeNamesThoseThereAre) {
  EXPECT_THAT(Refusal({.test_mode = "spike"}), HasSubstr("staircase, burst, sawtooth and allocate_full"));
}

}  // namespace
}  // namespace ballast::memory
