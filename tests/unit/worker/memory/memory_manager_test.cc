#include "ballast/memory_manager.h"

#include <fstream>

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

TEST_F(MemoryManagerTest, TestsRunInTheProfile) {
  std::ofstream(directory_ / "environments.yaml")
      << "environments:\n  - {name: 小机器, aliases: [small], memory_bytes: 256MiB}\n";
  manager_options_.environment_file = directory_ / "environments.yaml";
  manager_options_.environment_profile = "small";
  const auto manager = Create();
  // Of 256 MiB: on the machine as it is the target would be below what is in use.
  const auto test = manager->RunControlledPressureTest(
      {.test_mode = "staircase", .target_percent = 30, .burst_duration = std::chrono::milliseconds(400)});
  ASSERT_TRUE(test.ok()) << test.status();
  const auto report = manager->GenerateMemoryReport();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->environment().profile_name(), "小机器");
  EXPECT_EQ(report->environment().profile().memory_bytes(), std::uint64_t{256} << 20U);
  const v1::RunResult& result = test->attempt().result();
  if (result.outcome().kind() == v1::ENVIRONMENT_REFUSED) GTEST_SKIP() << result.outcome().message();
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  EXPECT_EQ(report->environment().applied().memory_bytes(), std::uint64_t{256} << 20U);
  EXPECT_EQ(result.limit_bytes(), std::uint64_t{256} << 20U);
}

TEST_F(MemoryManagerTest, AnOomKillInTheProfileIsAResult) {
  std::ofstream(directory_ / "environments.yaml") << "environments:\n  - {name: small, memory_bytes: 64MiB}\n";
  manager_options_.environment_file = directory_ / "environments.yaml";
  manager_options_.environment_profile = "small";
  const auto manager = Create();
  v1::JobSpec job = Small(MemoryPressurer::AllocateFull());
  job.mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(v1::AllocateFullPattern::OOM);
  const auto pressurer = manager->pressurer();
  ASSERT_TRUE(pressurer.ok()) << pressurer.status();
  const auto test = (*pressurer)->Run(job);
  ASSERT_TRUE(test.ok()) << test.status();
  const v1::Outcome& outcome = test->attempt().result().outcome();
  if (outcome.kind() == v1::ENVIRONMENT_REFUSED) GTEST_SKIP() << outcome.message();
  EXPECT_EQ(outcome.kind(), v1::OOM_KILLED) << outcome.message();
  EXPECT_EQ(outcome.evidence().killer(), v1::KERNEL_MEMCG_OOM);
}

TEST_F(MemoryManagerTest, TheLevelIsForTheProfilesMemory) {
  manager_options_.environment_profile = "2gb-noswap";
  const auto report = Create()->GenerateMemoryReport();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->quantization().room_bytes(), 0U);
  EXPECT_LT(report->quantization().room_bytes(), std::uint64_t{2} << 30U) << "less what the guard keeps free";
}

TEST_F(MemoryManagerTest, AModelThatNobodyKnowsIsAReasonInTheReport) {
  manager_options_.model_id = "tinny";
  const auto report = Create()->GenerateMemoryReport();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->quantization().current_optimal(), "");
  EXPECT_EQ(report->quantization().model_id(), "tinny");
  EXPECT_THAT(report->quantization().message(), HasSubstr("did you mean 'tiny'?"));
  EXPECT_GT(report->now().limit_bytes(), 0U);
}

TEST_F(MemoryManagerTest, AnUnknownProfileNamesTheNearest) {
  manager_options_.environment_profile = "4gb-swop";
  const absl::Status status = MemoryManager::Create(manager_options_).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("4gb-swap"));
}

TEST_F(MemoryManagerTest, ThereIsOneInstanceOfTheProcess) {
  const auto first = MemoryManager::Instance(manager_options_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(MemoryManager::Instance().value(), *first);
  EXPECT_TRUE(absl::IsFailedPrecondition(MemoryManager::Instance({.environment_profile = "2gb-noswap"}).status()));
}

}  // namespace
}  // namespace ballast
