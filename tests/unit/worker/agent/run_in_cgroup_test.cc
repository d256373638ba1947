// A run in a memory cgroup with a limit, where its runner may be OOM-killed without harm. Version 1; version 2 is
// tested on devices.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "common/os/cgroup.h"
#include "tests/unit/worker/agent/run_fixture.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;

constexpr std::uint64_t kLimit = 256U << 20U;

bool WriteText(const std::string& path, const std::string& text) {
  const auto file = base::OpenFile(path, O_WRONLY);
  return file.ok() && base::WriteAll(file->get(), text).ok();
}

class RunInCgroupTest : public RunFixture {
 protected:
  void SetUp() override {
    const auto location = os::LocateCgroups();
    if (!location.ok() || location->memory_version != 1) GTEST_SKIP() << "needs the version 1 memory controller";
    home_ = location->memory_directories.front();
    group_ = fmt::format("{}/ballast-agent-test-{}", location->memory_directories.back(), ::getpid());
    if (::mkdir(group_.c_str(), 0755) != 0) GTEST_SKIP() << "needs the right to make a cgroup (run as root)";
    const bool limited = WriteText(group_ + "/memory.limit_in_bytes", std::to_string(kLimit));
    WriteText(group_ + "/memory.memsw.limit_in_bytes", std::to_string(kLimit));
    // The whole test moves in: the agent and its runner share a cgroup.
    joined_ = limited && WriteText(group_ + "/cgroup.procs", std::to_string(::getpid()));
    if (!joined_) GTEST_SKIP() << "cannot enter a limited cgroup";
  }
  void TearDown() override {
    cgroup_home_.reset();
    if (joined_) WriteText(home_ + "/cgroup.procs", std::to_string(::getpid()));
    EXPECT_TRUE(group_.empty() || ::rmdir(group_.c_str()) == 0) << "something is left in " << group_;
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
  std::string home_;
  std::string group_;
  bool joined_ = false;
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
