#include "worker/environment/cgroup_home.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CgroupHomeVersion1Test : public GroupFixture {
 protected:
  void SetUp() override { Locate(1); }
};

TEST_F(CgroupHomeVersion1Test, ARunnerGetsAChildOfTheAgentsGroupWithoutALimit) {
  const auto home = CgroupHome::Prepare();
  EXPECT_EQ(home->isolation(), v1::CGROUP_V1);
  EXPECT_THAT(home->limitations(), IsEmpty());
  const auto group = home->MakeRunGroup();
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(std::filesystem::path(group->directory()).parent_path(), location_.memory_directories.front());
  EXPECT_FALSE(os::ParseMemoryLimit(base::ReadFile(group->directory() + "/memory.limit_in_bytes").value()));
  EXPECT_EQ(os::LocateCgroups()->memory_path, location_.memory_path) << "the agent stays where it is";
}

TEST_F(CgroupHomeVersion1Test, WhatACrashedAgentLeftIsGone) {
  auto left = OwnGroup::Create(location_, kRunGroupPrefix);
  ASSERT_TRUE(left.ok()) << left.status();
  const std::string directory = left->directory();
  left->Abandon();
  const auto home = CgroupHome::Prepare();
  EXPECT_FALSE(std::filesystem::exists(directory));
}

// A version 2 hierarchy in plain files: enough to see what is found out before anything is moved. The moves themselves
// need a kernel, and are tested on devices.
class CgroupHomeVersion2Test : public DirectoryFixture {
 protected:
  CgroupHomeVersion2Test() {
    Write("proc/self/cgroup", "0::/box\n");
    Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    Write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    Write("sys/fs/cgroup/box/cgroup.controllers", "cpu memory\n");
    Write("sys/fs/cgroup/box/cgroup.type", "domain\n");
    Write("sys/fs/cgroup/box/cgroup.subtree_control", "");
    Write("sys/fs/cgroup/box/cgroup.procs", std::to_string(::getpid()) + "\n");
  }

  [[nodiscard]] std::vector<std::string> GroupsMade() const {
    std::vector<std::string> groups;
    for (const auto& entry : std::filesystem::directory_iterator(Path("sys/fs/cgroup/box"))) {
      if (entry.is_directory()) groups.push_back(entry.path());
    }
    return groups;
  }
};

TEST_F(CgroupHomeVersion2Test, ASharedGroupCannotBeDivided) {
  Write("sys/fs/cgroup/box/cgroup.procs", "1\n" + std::to_string(::getpid()) + "\n");
  const auto home = CgroupHome::Prepare(directory_);
  EXPECT_EQ(home->isolation(), v1::PROCESS_GROUP);
  EXPECT_THAT(home->limitations(), ElementsAre(HasSubstr("1 other process")));
  EXPECT_THAT(home->limitations(), ElementsAre(HasSubstr("Delegate=yes")));
  EXPECT_THAT(GroupsMade(), IsEmpty());
  EXPECT_EQ(home->MakeRunGroup().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(CgroupHomeVersion2Test, WithoutTheControllerThereIsNoGroup) {
  Write("sys/fs/cgroup/box/cgroup.controllers", "cpu\n");
  const auto home = CgroupHome::Prepare(directory_);
  EXPECT_EQ(home->isolation(), v1::PROCESS_GROUP);
  EXPECT_THAT(home->limitations(), ElementsAre(HasSubstr("not delegated")));
  EXPECT_THAT(GroupsMade(), IsEmpty());
}

TEST_F(CgroupHomeVersion2Test, WhatCannotBeEnteredIsNotClaimed) {
  const auto home = CgroupHome::Prepare(directory_);  // a plain directory has no cgroup.procs
  EXPECT_EQ(home->isolation(), v1::PROCESS_GROUP);
  EXPECT_THAT(home->limitations(), ElementsAre(HasSubstr("cgroup.procs")));
  EXPECT_EQ(home->protected_bytes(), 0U);
}

TEST_F(CgroupHomeVersion2Test, AMachineWithoutMemoryCgroupsSaysSo) {
  Write("proc/self/mountinfo", "");
  const auto home = CgroupHome::Prepare(directory_);
  EXPECT_EQ(home->isolation(), v1::PROCESS_GROUP);
  EXPECT_THAT(home->limitations(), Contains(HasSubstr("no memory cgroup is mounted")));
}

TEST_F(CgroupHomeVersion2Test, LimitsOfVersion1ThatDoNotHoldForChildrenAreNotEscaped) {
  Write("proc/self/cgroup", "4:memory:/box\n0::/\n");
  Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n");
  Write("sys/fs/cgroup/box/memory.use_hierarchy", "0\n");
  const auto home = CgroupHome::Prepare(directory_);
  EXPECT_EQ(home->isolation(), v1::PROCESS_GROUP);
  EXPECT_THAT(home->limitations(), ElementsAre(HasSubstr("use_hierarchy")));
}

}  // namespace
}  // namespace ballast::environment
