// Runs in the environment of a profile. Version 1; version 2 is tested on devices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "tests/unit/worker/agent/limited_group_fixture.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr std::uint64_t kOuterLimit = 512ULL << 20U;
constexpr std::uint64_t kLimit = 256ULL << 20U;

// This process is in a group with a larger limit, so that nothing can go wrong on the machine.
class EnvironmentRunTest : public LimitedGroupFixture {
 protected:
  EnvironmentRunTest() : LimitedGroupFixture(kOuterLimit) {}
  void SetUp() override {
    LimitedGroupFixture::SetUp();
    if (IsSkipped()) return;
    cgroup_home_ = environment::CgroupHome::Prepare();
    options_.cgroup_home = cgroup_home_.get();
    options_.device.add_capabilities(v1::ENVIRONMENT_PROFILES);
  }
  void TearDown() override {
    cgroup_home_.reset();
    LimitedGroupFixture::TearDown();
  }

  static void Limit(std::uint64_t bytes, v1::Assignment* assignment) {
    v1::EnvironmentProfile* const profile = assignment->mutable_spec()->mutable_environment_profile();
    profile->set_name("tiny");
    profile->set_memory_bytes(bytes);
    assignment->mutable_spec()->set_environment("tiny");
  }

  v1::RunResult Run(const v1::Assignment& assignment) {
    OpenSpool();
    const auto control = RunControl::Create().value();
    const auto rejected = RunExecutor(options_, spool_.get()).Execute(assignment, control.get(), this);
    EXPECT_FALSE(rejected.has_value()) << rejected->reason();
    if (rejected) return {};
    Flush();
    records_ = ReadAll();
    EXPECT_EQ(GroupsLeft(), 0) << "a group is left";
    return records_.back().finished().result();
  }

  [[nodiscard]] int GroupsLeft() const {
    int left = 0;
    for (const auto& entry : std::filesystem::directory_iterator(group_)) left += entry.is_directory() ? 1 : 0;
    return left;
  }

  std::unique_ptr<environment::CgroupHome> cgroup_home_;
  std::vector<v1::Record> records_;
};

TEST_F(EnvironmentRunTest, EndsAtTheLimitOfItsProfile) {
  v1::Assignment assignment = Staircase(1, std::chrono::seconds(1));
  assignment.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(
      v1::AllocateFullPattern::OOM);
  Limit(kLimit, &assignment);
  const v1::RunResult result = Run(assignment);
  const v1::Evidence& evidence = result.outcome().evidence();
  EXPECT_EQ(result.outcome().kind(), v1::OOM_KILLED) << result.outcome().message();
  EXPECT_EQ(evidence.killer(), v1::KERNEL_MEMCG_OOM);
  EXPECT_THAT(evidence.oom_cgroup(), HasSubstr("/ballast-env-"));
  EXPECT_EQ(evidence.oom_cgroup(), result.environment().cgroup());
  EXPECT_THAT(result.outcome().message(), HasSubstr("/ballast-env-"));
  EXPECT_EQ(evidence.cgroup_oom_kill_count(), 1U);
  EXPECT_EQ(result.limit_bytes(), kLimit);
  EXPECT_EQ(result.limit_source(), result.environment().cgroup());
  EXPECT_EQ(result.environment().profile_name(), "tiny");
  EXPECT_EQ(result.environment().memory_bytes(), kLimit);
  EXPECT_EQ(result.environment().swap_bytes(), 0U);
  EXPECT_THAT(result.environment().readings(), Contains(HasSubstr("memory.limit_in_bytes: 268435456")));
  // The agent's samples refer to it too.
  const metrics::DecodedChunk chunk = metrics::DecodeChunk(records_[1].chunk()).value();
  ASSERT_FALSE(chunk.rows.empty());
  for (const metrics::SampleRow& row : chunk.rows) {
    EXPECT_EQ(row[metrics::IndexOf(metrics::MetricId::kMemLimitBytes)], static_cast<std::int64_t>(kLimit));
  }
}

TEST_F(EnvironmentRunTest, PercentagesAreOfItsLimit) {
  v1::Assignment assignment = Staircase(1, std::chrono::seconds(1));
  v1::PressureWorkload* const pressure = assignment.mutable_spec()->mutable_workload()->mutable_pressure();
  pressure->mutable_burst()->set_target_percent(70);
  *pressure->mutable_burst()->mutable_duration() = base::ToProto(std::chrono::seconds(1));
  config::ApplyDefaults(assignment.mutable_spec());
  Limit(kLimit, &assignment);
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  const auto hold = std::ranges::find(result.phases(), v1::Phase::HOLD, &v1::Phase::kind);
  ASSERT_NE(hold, result.phases().end());
  EXPECT_NEAR(hold->hold_quality().max_percent(), 70, 3);
  EXPECT_LE(result.peak_held_bytes(), kLimit * 73 / 100);
}

TEST_F(EnvironmentRunTest, IsRefusedWhereAnOuterLimitIsSmaller) {
  v1::Assignment assignment = LongRun();
  Limit(2 * kOuterLimit, &assignment);
  OpenSpool();
  const auto control = RunControl::Create().value();
  const auto rejected = RunExecutor(options_, spool_.get()).Execute(assignment, control.get(), this);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(rejected->reason(), HasSubstr("'tiny' wants memory of 1 GiB, and a cgroup above it allows only 512 MiB"));
  EXPECT_THAT(rejected->reason(), HasSubstr(group_ + "/memory.limit_in_bytes: 536870912"));
  EXPECT_TRUE(ReadAll().empty()) << "nothing was begun";
  EXPECT_EQ(GroupsLeft(), 0);
}

}  // namespace
}  // namespace ballast::agent
