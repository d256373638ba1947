// A run in a memory cgroup with a limit, where its runner may be OOM-killed without harm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "tests/unit/worker/agent/limited_group_fixture.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;

constexpr std::uint64_t kLimit = 256U << 20U;

class RunInCgroupTest : public LimitedGroupFixture {
 protected:
  RunInCgroupTest() : LimitedGroupFixture(kLimit) {}
  void TearDown() override {
    cgroup_home_.reset();
    LimitedGroupFixture::TearDown();
  }

  v1::RunResult RunOutOfMemory() {
    OpenSpool();
    v1::Assignment assignment = Staircase(1, std::chrono::seconds(1));
    assignment.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(
        v1::AllocateFullPattern::OOM);
    const auto control = RunControl::Create().value();
    EXPECT_FALSE(RunExecutor(options_, spool_.get()).Execute(assignment, control.get(), this).has_value());
    Flush();
    records_ = ReadAll();
    return records_.back().finished().result();
  }

  std::unique_ptr<environment::CgroupHome> cgroup_home_;
  std::vector<v1::Record> records_;
};

TEST_F(RunInCgroupTest, AnOomKillIsAFindingWithItsEvidence) {
  cgroup_home_ = environment::CgroupHome::Prepare();
  options_.cgroup_home = cgroup_home_.get();
  const v1::RunResult result = RunOutOfMemory();
  const v1::Evidence& evidence = result.outcome().evidence();
  EXPECT_EQ(result.outcome().kind(), v1::OOM_KILLED) << result.outcome().message();
  EXPECT_EQ(evidence.killer(), v1::KERNEL_MEMCG_OOM);
  EXPECT_EQ(evidence.signal(), SIGKILL);
  EXPECT_EQ(evidence.cgroup_oom_kill_count(), 1U);
  EXPECT_GE(evidence.cgroup_oom_count(), 1U);
  EXPECT_THAT(evidence.oom_cgroup(), EndsWith(group_.substr(group_.rfind('/'))));
  EXPECT_THAT(result.outcome().message(), HasSubstr(evidence.oom_cgroup()));
  EXPECT_THAT(evidence.findings(), Contains(HasSubstr("1 in the runner's cgroup, ")));
  EXPECT_EQ(result.limit_source(), evidence.oom_cgroup());
  EXPECT_GE(evidence.global_oom_kill_count(), 1U);
  EXPECT_GT(evidence.held_bytes(), kLimit / 8);  // a sanitizer takes most of it
  EXPECT_EQ(result.limit_bytes(), kLimit);
  EXPECT_NE(result.limit_source(), "machine");
  EXPECT_GT(result.fill_bytes_per_second(), 0);

  // The last sample is no older than 200 ms at the kill, which is an event of the log.
  const metrics::DecodedChunk last = metrics::DecodeChunk(records_[records_.size() - 2].chunk()).value();
  const auto kill = std::ranges::find(last.events, v1::Event::OOM_KILL, &v1::Event::kind);
  ASSERT_NE(kill, last.events.end());
  ASSERT_GE(last.offsets.size(), 2U);
  const std::chrono::nanoseconds killed = base::FromProto(kill->offset());
  EXPECT_LT(killed - *(last.offsets.end() - 2), std::chrono::milliseconds(200));
  // This process is in the group too, and lives.
}

TEST_F(RunInCgroupTest, ARunnerThatSharesTheAgentsGroupIsToldFromTheCountsAsWell) {
  const v1::RunResult result = RunOutOfMemory();
  EXPECT_EQ(result.outcome().kind(), v1::OOM_KILLED) << result.outcome().message();
  EXPECT_EQ(result.outcome().evidence().killer(), v1::KERNEL_MEMCG_OOM);
  EXPECT_THAT(result.outcome().evidence().findings(), Contains(HasSubstr("which it shares")));
}

TEST_F(RunInCgroupTest, WhatLeavesTheRunnersProcessGroupGoesWithItsCgroup) {
  cgroup_home_ = environment::CgroupHome::Prepare();
  options_.cgroup_home = cgroup_home_.get();
  UseScript(fmt::format("setsid sleep 1000 & echo $! > '{}'; exit 0", (directory_ / "grandchild").string()));
  OpenSpool();
  const auto control = RunControl::Create().value();
  ASSERT_FALSE(RunExecutor(options_, spool_.get()).Execute(LongRun(), control.get(), this).has_value());
  const auto stat =
      base::ReadFile(fmt::format("/proc/{}/stat", std::stoi(base::ReadFile(directory_ / "grandchild").value())));
  EXPECT_TRUE(!stat.ok() || os::ParseProcessStat(*stat)->state == 'Z' || os::ParseProcessStat(*stat)->state == 'X');
}

}  // namespace
}  // namespace ballast::agent
