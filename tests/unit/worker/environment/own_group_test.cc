#include "worker/environment/own_group.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"
#include "worker/environment/cgroup_end.h"

namespace ballast::environment {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// In a hierarchy of each version.
class OwnGroupTest : public GroupFixture, public testing::WithParamInterface<int> {
 protected:
  void SetUp() override { Locate(GetParam()); }

  // A shell in the group that has left a child in a session, and so a process group, of its own; their pids.
  void StartFamily(const OwnGroup& group, base::ChildProcess* shell, pid_t* orphan) {
    base::ChildOptions options;
    options.argv = {"/bin/sh", "-c", "setsid sleep 1000 & echo $! > " + Path("orphan") + "; exec sleep 1000"};
    options.cgroups = {group.directory()};
    auto started = base::ChildProcess::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    *shell = *std::move(started);
    *orphan = std::stoi(WaitForContent(Path("orphan")));
    ASSERT_TRUE(Runs(*orphan));
  }
};
INSTANTIATE_TEST_SUITE_P(Versions, OwnGroupTest, testing::Values(1, 2));

TEST_P(OwnGroupTest, IsMadeBelowItsParentAndGoesAway) {
  std::string directory;
  {
    const auto group = OwnGroup::Create(location_, "ballast-test-");
    ASSERT_TRUE(group.ok()) << group.status();
    directory = group->directory();
    EXPECT_THAT(directory, StartsWith(location_.memory_directories.front() + "/ballast-test-"));
    EXPECT_EQ(group->location().memory_directories.size(), location_.memory_directories.size() + 1);
    EXPECT_THAT(group->location().memory_path, HasSubstr("/ballast-test-"));
    const auto second = OwnGroup::Create(location_, "ballast-test-");
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_NE(second->directory(), directory);
    EXPECT_TRUE(std::filesystem::is_directory(directory));
  }
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST_P(OwnGroupTest, WhatIsInItGoesWithIt) {
  base::ChildProcess shell;
  pid_t orphan = 0;
  {
    auto group = OwnGroup::Create(location_, "ballast-test-");
    ASSERT_TRUE(group.ok()) << group.status();
    StartFamily(*group, &shell, &orphan);
  }
  EXPECT_FALSE(Runs(orphan));
  EXPECT_EQ(shell.Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
}

TEST_P(OwnGroupTest, OnlyWhatHasNoLivingOwnerIsSwept) {
  const std::string parent = location_.memory_directories.front();
  auto owned = OwnGroup::Create(location_, kRunGroupPrefix);
  ASSERT_TRUE(owned.ok()) << owned.status();
  auto left = OwnGroup::Create(location_, kRunGroupPrefix);
  ASSERT_TRUE(left.ok()) << left.status();
  const std::string leftover = left->directory();
  // Of somebody else, with a name that begins in the same way.
  auto foreign = OwnGroup::Create(location_, "ballast-run-test-");
  ASSERT_TRUE(foreign.ok()) << foreign.status();
  const std::string foreign_directory = foreign->directory();
  foreign->Abandon();
  base::ChildProcess shell;
  pid_t orphan = 0;
  StartFamily(*left, &shell, &orphan);
  left->Abandon();  // as the kernel does for a process that has died: the lock is gone
  SweepGroups(parent);
  EXPECT_FALSE(std::filesystem::exists(leftover));
  EXPECT_FALSE(Runs(orphan));
  EXPECT_TRUE(std::filesystem::exists(owned->directory()));
  EXPECT_EQ(::rmdir(foreign_directory.c_str()), 0);
}

TEST_P(OwnGroupTest, AChildThatCannotEnterIsNotStarted) {
  base::ChildOptions options;
  options.argv = {"/bin/true"};
  options.cgroups = {location_.memory_directories.front() + "/no-such-group"};
  const auto child = base::ChildProcess::Start(options);
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(child.status().message()), HasSubstr("enter " + options.cgroups[0]));
}

TEST(CgroupEndTest, WhatIsNotThereHasEnded) {
  EXPECT_TRUE(EndCgroup("/sys/fs/cgroup/no-such-group", std::chrono::milliseconds(0)));
  EXPECT_FALSE(EndCgroup("/proc/self", std::chrono::milliseconds(0)));
}

}  // namespace
}  // namespace ballast::environment
