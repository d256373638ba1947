#include "ballast/memory_pressurer.h"

#include <csignal>

#include <atomic>
#include <chrono>
#include <cmath>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/os/memory_gauge.h"
#include "tests/unit/worker/agent/run_fixture.h"
#include "tests/unit/worker/memory/pressure_fixture.h"

namespace ballast {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20U;

class MemoryPressurerTest : public PressureFixture {
 protected:
  std::unique_ptr<MemoryPressurer> Create() {
    auto pressurer = MemoryPressurer::Create(options_);
    EXPECT_TRUE(pressurer.ok()) << pressurer.status();
    return *std::move(pressurer);
  }
  // One that goes on until something ends it, and has begun to hold.
  static void StartLong(MemoryPressurer& pressurer) {
    std::promise<void> holds;
    std::atomic<bool> told = false;
    ASSERT_TRUE(pressurer
                    .Start(Small(MemoryPressurer::Staircase(4, std::chrono::hours(1), 10)),
                           [&](const v1::RunProgress& progress) {
                             if (progress.held_bytes() >= 4 * kMiB && !told.exchange(true)) holds.set_value();
                           })
                    .ok());
    ASSERT_EQ(holds.get_future().wait_for(agent::kPatience), std::future_status::ready);
  }
};

TEST_F(MemoryPressurerTest, AStaircaseIsHeldInAChild) {
  const auto pressurer = Create();
  const auto test = pressurer->Run(Small(MemoryPressurer::Staircase(4, milliseconds(50), 5)));
  ASSERT_TRUE(test.ok()) << test.status();
  const v1::RunResult& result = test->attempt().result();
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  EXPECT_EQ(result.steps_size(), 5);
  EXPECT_EQ(result.peak_held_bytes(), 20 * kMiB);
  EXPECT_TRUE(test->attempt().has_end_time());
  EXPECT_EQ(test->spec().workload().pressure().floor_percent(), 5) << "the defaults are filled in";
  ASSERT_GT(test->samples().offset_ms_size(), 5);
  EXPECT_EQ(test->samples().columns(0).values_size(), test->samples().offset_ms_size());
  EXPECT_FALSE(pressurer->running());
}

TEST_F(MemoryPressurerTest, TestsFollowOneAnotherAndLeaveNoRecords) {
  const auto pressurer = Create();
  for (int i = 0; i < 3; ++i) {
    const auto test = pressurer->Run(Small(MemoryPressurer::Staircase(4, milliseconds(10), 1)));
    ASSERT_TRUE(test.ok()) << test.status();
    EXPECT_EQ(test->attempt().result().outcome().kind(), v1::COMPLETED);
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(pressurer->Wait().status())) << "every end was taken";
}

TEST_F(MemoryPressurerTest, OneAtATimeAndStoppedByTheProgram) {
  const auto pressurer = Create();
  StartLong(*pressurer);
  EXPECT_TRUE(pressurer->running());
  EXPECT_TRUE(absl::IsFailedPrecondition(pressurer->Start(MemoryPressurer::Burst())));
  pressurer->Stop();
  const auto test = pressurer->Wait();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->attempt().result().outcome().kind(), v1::CANCELLED);
  EXPECT_THAT(test->attempt().result().outcome().message(), HasSubstr("the program stopped the test"));
}

TEST_F(MemoryPressurerTest, ItsEndEndsTheTest) {
  auto pressurer = Create();
  StartLong(*pressurer);
  ASSERT_EQ(agent::RunnersOfThisProcess().size(), 1U);
  pressurer.reset();
  EXPECT_TRUE(agent::ChildrenOfThisProcess().empty());
}

TEST_F(MemoryPressurerTest, ARunnerThatIsKilledIsAResultAndTheProgramGoesOn) {
  const auto pressurer = Create();
  StartLong(*pressurer);
  const auto runners = agent::RunnersOfThisProcess();
  ASSERT_EQ(runners.size(), 1U);
  ASSERT_EQ(::kill(runners.front(), SIGKILL), 0);
  const auto test = pressurer->Wait();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_NE(test->attempt().result().outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(test->attempt().result().outcome().evidence().signal(), SIGKILL);
  EXPECT_TRUE(pressurer->Run(Small(MemoryPressurer::Staircase(4, milliseconds(10), 1))).ok());
}

TEST_F(MemoryPressurerTest, TheTargetOfABurstIsAdjustedWhileItIsHeld) {
  const auto gauge = os::MemoryGauge::Open();
  ASSERT_TRUE(gauge.ok());
  const double used = (*gauge)->Read()->used_percent();
  const auto pressurer = Create();
  std::atomic<bool> adjusted = false;
  std::atomic<bool> moved = false;
  const double first = std::ceil(used) + 1;
  const double second = first + 0.5;
  const auto test =
      pressurer->Run(Small(MemoryPressurer::Burst(first, seconds(30))), [&](const v1::RunProgress& progress) {
        if (progress.phase() != v1::Phase::HOLD) return;
        if (!adjusted.exchange(true)) {
          EXPECT_TRUE(pressurer->AdjustTarget(second).ok());
        }
        if (std::abs(progress.target_percent() - second) < 0.01 && !moved.exchange(true)) pressurer->Stop();
      });
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_TRUE(moved) << test->attempt().result().outcome().message();
  std::vector<double> holds;
  for (const v1::Phase& phase : test->attempt().result().phases()) {
    if (phase.kind() == v1::Phase::HOLD) holds.push_back(phase.target_percent());
  }
  EXPECT_THAT(holds, ::testing::ElementsAre(first, second)) << "each target is a hold of its own";
}

TEST_F(MemoryPressurerTest, OnlyABurstThatGoesOnIsAdjusted) {
  const auto pressurer = Create();
  EXPECT_TRUE(absl::IsFailedPrecondition(pressurer->AdjustTarget(50)));
  EXPECT_TRUE(absl::IsInvalidArgument(pressurer->AdjustTarget(0)));
  StartLong(*pressurer);
  EXPECT_TRUE(absl::IsFailedPrecondition(pressurer->AdjustTarget(50)));
}

TEST_F(MemoryPressurerTest, AModelOfTheCatalogueIsLoadedUnderPressure) {
  const auto pressurer = Create();
  v1::JobSpec job = Small(MemoryPressurer::Staircase(4, milliseconds(10), 1));
  const v1::PressureWorkload pressure = job.workload().pressure();
  v1::ModelWorkload* const model = job.mutable_workload()->mutable_model();
  *model->mutable_pressure() = pressure;
  model->mutable_load()->set_model_id("tiny");
  const auto test = pressurer->Run(job);
  ASSERT_TRUE(test.ok()) << test.status();
  ASSERT_EQ(test->attempt().result().loads_size(), 1);
  const v1::ModelLoadResult& load = test->attempt().result().loads(0);
  EXPECT_EQ(load.outcome().kind(), v1::COMPLETED) << load.outcome().message();
  EXPECT_EQ(load.quant(), "Q4_K_M") << "the catalogue's first level";
  EXPECT_EQ(load.file_source(), "created");
  model->mutable_load()->set_model_id("tyni");
  EXPECT_THAT(pressurer->Run(job).status().message(), HasSubstr("there are qwen2.5-7b-zh"));
}

TEST_F(MemoryPressurerTest, AJobThatCannotBeIsRefusedBeforeAnythingStarts) {
  const auto pressurer = Create();
  EXPECT_THAT(pressurer->Start(MemoryPressurer::Burst(120)).message(), HasSubstr("target_percent"));
  EXPECT_TRUE(absl::IsInvalidArgument(pressurer->Start(MemoryPressurer::Staircase(-1))));
  EXPECT_TRUE(absl::IsInvalidArgument(pressurer->Start(MemoryPressurer::Staircase(std::nan("")))));
  EXPECT_TRUE(absl::IsInvalidArgument(pressurer->Start(v1::JobSpec())));
  EXPECT_FALSE(pressurer->running());
}

TEST_F(MemoryPressurerTest, TheShorthandsHaveTheDefaultsOfTheCommandLine) {
  const v1::PressureWorkload staircase = MemoryPressurer::Staircase();
  EXPECT_EQ(staircase.staircase().step_size_bytes(), 100 * kMiB);
  EXPECT_EQ(staircase.staircase().steps(), 20U);
  const v1::PressureWorkload burst = MemoryPressurer::Burst();
  EXPECT_EQ(burst.burst().target_percent(), 70);
  EXPECT_EQ(base::FromProto(burst.burst().duration()), seconds(5));
  const v1::PressureWorkload sawtooth = MemoryPressurer::Sawtooth();
  EXPECT_EQ(sawtooth.sawtooth().min_percent(), 30);
  EXPECT_EQ(sawtooth.sawtooth().cycles(), 3U);
  EXPECT_EQ(MemoryPressurer::AllocateFull().allocate_full().until(), v1::AllocateFullPattern::FLOOR);
}

TEST_F(MemoryPressurerTest, WithoutARunnerThereIsNone) {
  options_.runner_program = directory_ / "none";
  EXPECT_TRUE(absl::IsNotFound(MemoryPressurer::Create(options_).status()));
}

}  // namespace
}  // namespace ballast
