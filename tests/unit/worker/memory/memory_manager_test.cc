#include "ballast/memory_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/memory/pressure_fixture.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

class MemoryManagerTest : public PressureFixture {
 protected:
  MemoryManagerTest() {
    manager_options_.pressure = options_;
    manager_options_.model_id = "tiny";
    manager_options_.guard.sample_interval = std::chrono::milliseconds(20);
  }
  std::unique_ptr<MemoryManager> Create() {
    auto manager = MemoryManager::Create(manager_options_);
    EXPECT_TRUE(manager.ok()) << manager.status();
    return *std::move(manager);
  }

  MemoryManagerOptions manager_options_;
};

TEST_F(MemoryManagerTest, TheReportHasMonitoringAdviceAndTheLastTest) {
  const auto manager = Create();
  ASSERT_TRUE(manager->StartMonitoring().ok());
  const double used = manager->guard().Read()->used_percent();
  const auto test = manager->RunControlledPressureTest(
      {.test_mode = "staircase", .target_percent = used + 0.5, .burst_duration = std::chrono::milliseconds(400)});
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->attempt().result().outcome().kind(), v1::COMPLETED) << test->attempt().result().outcome().message();
  EXPECT_EQ(test->attempt().result().steps_size(), 20);

  const auto report = manager->GenerateMemoryReport();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->monitoring());
  EXPECT_NE(report->trend(), v1::MemoryReport::TREND_UNSPECIFIED);
  EXPECT_GT(report->peaks().used_bytes(), 0U);
  EXPECT_EQ(report->quantization().model_id(), "tiny");
  EXPECT_EQ(report->quantization().current_optimal(), "F16");
  EXPECT_EQ(report->environment().profile_name(), "");
  EXPECT_EQ(report->last_test().attempt().result().peak_held_bytes(), test->attempt().result().peak_held_bytes());
  manager->StopMonitoring();
  EXPECT_FALSE(manager->GenerateMemoryReport()->monitoring());

  const std::string json = ToJson(*report);
  EXPECT_THAT(json, HasSubstr("\"trend\": \""));
  EXPECT_THAT(json, HasSubstr("\"current_optimal\": \"F16\""));
  EXPECT_THAT(json, HasSubstr("\"profile_name\": \"\""));
}

TEST_F(MemoryManagerTest, AProgramThatOnlyMonitorsNeedsNoRunner) {
  manager_options_.pressure.runner_program = directory_ / "none";
  const auto manager = Create();
  EXPECT_TRUE(manager->StartMonitoring().ok());
  EXPECT_TRUE(manager->GenerateMemoryReport().ok());
  EXPECT_TRUE(absl::IsNotFound(manager->RunControlledPressureTest({.target_percent = 99}).status()));
}

TEST_F(MemoryManagerTest, WrongNamesAreToldBeforeATest) {
  const auto manager = Create();
  EXPECT_TRUE(absl::IsInvalidArgument(manager->RunControlledPressureTest({.test_mode = "spike"}).status()));
  EXPECT_TRUE(
      absl::IsNotFound(manager->RunControlledPressureTest({.model_id = "tyni", .target_percent = 99}).status()));
  EXPECT_FALSE(manager->GenerateMemoryReport()->has_last_test());
}

TEST_F(MemoryManagerTest, ThereIsOneInstanceOfTheProcess) {
  const auto first = MemoryManager::Instance(manager_options_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(MemoryManager::Instance().value(), *first);
  EXPECT_TRUE(absl::IsFailedPrecondition(MemoryManager::Instance({.environment_profile = "2gb-noswap"}).status()));
}

}  // namespace
}  // namespace ballast
