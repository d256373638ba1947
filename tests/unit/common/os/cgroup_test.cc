#include "common/os/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;

TEST(CgroupMembershipTest, ReadsBothVersions) {
  const auto memberships = ParseCgroupMemberships("9:name=systemd:/\n5:memory,cpu:/a:b/c\n0::/user.slice\n");
  ASSERT_EQ(memberships.size(), 3U);
  EXPECT_EQ(memberships[1].hierarchy, 5U);
  EXPECT_THAT(memberships[1].controllers, ElementsAre("memory", "cpu"));
  EXPECT_EQ(memberships[1].path, "/a:b/c");
  EXPECT_EQ(memberships[2].hierarchy, 0U);
  EXPECT_THAT(memberships[2].controllers, IsEmpty());
  EXPECT_EQ(memberships[2].path, "/user.slice");
}

TEST(CgroupMembershipTest, LeavesOutBrokenLines) {
  EXPECT_THAT(ParseCgroupMemberships("\nx:memory:/\n4:memory\n4\n:::\n-1::/\n99999999999::/\n4:memory:relative\n"),
              IsEmpty());
}

TEST(CgroupMountTest, FindsCgroupsAmongOtherMounts) {
  const auto mounts = ParseCgroupMounts(
      "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
      "35 31 0:32 /docker/x /sys/fs/cgroup/memory rw shared:9 master:1 - cgroup cgroup rw,memory\n"
      "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "41 31 0:38 / /mnt/with\\040space\\134 rw - cgroup2 cgroup2 rw\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].version, 1);
  EXPECT_THAT(mounts[0].controllers, Contains("memory"));
  EXPECT_EQ(mounts[0].root, "/docker/x");
  EXPECT_THAT(mounts[1].controllers, Not(Contains("memory")));
  EXPECT_EQ(mounts[2].version, 2);
  EXPECT_EQ(mounts[2].mount_point, "/mnt/with space\\");
}

TEST(CgroupMountTest, LeavesOutBrokenLines) {
  EXPECT_THAT(
      ParseCgroupMounts(
          "1 2 3\n41 31 0:38 / /x rw cgroup2\n41 31 0:38 / /x rw - cgroup2\n41 31 0:38 x y rw - cgroup2 c rw\n-\n"),
      IsEmpty());
}

TEST(CgroupDirectoryTest, PutsThePathUnderTheMount) {
  const CgroupMount whole{.version = 2, .root = "/", .mount_point = "/cg"};
  EXPECT_EQ(CgroupDirectory(whole, "/a/b"), "/cg/a/b");
  EXPECT_EQ(CgroupDirectory(whole, "/"), "/cg");
  EXPECT_EQ(CgroupDirectory(whole, "/../other"), "/cg");
  const CgroupMount part{.version = 1, .root = "/docker/x", .mount_point = "/cg"};
  EXPECT_EQ(CgroupDirectory(part, "/docker/x/inner"), "/cg/inner");
  EXPECT_EQ(CgroupDirectory(part, "/docker/x"), "/cg");
  EXPECT_EQ(CgroupDirectory(part, "/docker/xyz"), "/cg");
  EXPECT_EQ(CgroupDirectory(part, "/"), "/cg");
}

TEST(MemoryLimitTest, KnowsEachVersionsWayOfSayingNone) {
  EXPECT_THAT(ParseMemoryLimit("536870912\n"), Optional(536870912U));
  EXPECT_THAT(ParseMemoryLimit("0\n"), Optional(0U));
  EXPECT_FALSE(ParseMemoryLimit("max\n").has_value());
  EXPECT_FALSE(ParseMemoryLimit("9223372036854771712\n").has_value());
  EXPECT_FALSE(ParseMemoryLimit("9223372036854710272\n").has_value());  // with pages of 64 KiB
  EXPECT_FALSE(ParseMemoryLimit("\n").has_value());
}

TEST(LocateCgroupsTest, Version1BesideAVersion2WithoutMemory) {
  FakeTree tree;
  tree.Write("proc/self/cgroup", "4:memory:/outer/inner\n0::/session\n");
  tree.Write("proc/self/mountinfo",
             "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
             "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  tree.Write("sys/fs/cgroup/memory/outer/inner/memory.stat", "");
  tree.Write("sys/fs/cgroup/unified/cgroup.controllers", "\n");
  tree.Write("sys/fs/cgroup/unified/session/memory.pressure", "");
  const auto location = LocateCgroups(tree.root());
  ASSERT_TRUE(location.ok()) << location.status();
  EXPECT_EQ(location->memory_version, 1);
  EXPECT_EQ(location->memory_path, "/outer/inner");
  const std::string mount = tree.root() + "/sys/fs/cgroup/memory";
  EXPECT_THAT(location->memory_directories, ElementsAre(mount + "/outer/inner", mount + "/outer", mount));
  EXPECT_EQ(location->unified_directory, tree.root() + "/sys/fs/cgroup/unified/session");
}

TEST(LocateCgroupsTest, Version2WithMemory) {
  FakeTree tree;
  tree.Write("proc/123/cgroup", "0::/system.slice/worker.service\n");
  tree.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.Write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
  tree.Write("sys/fs/cgroup/system.slice/worker.service/memory.max", "max\n");
  const auto location = LocateCgroups(tree.root(), "123");
  ASSERT_TRUE(location.ok()) << location.status();
  EXPECT_EQ(location->memory_version, 2);
  EXPECT_EQ(location->memory_path, "/system.slice/worker.service");
  EXPECT_EQ(location->memory_directories.size(), 3U);
  EXPECT_EQ(location->unified_directory, tree.root() + "/sys/fs/cgroup/system.slice/worker.service");
}

TEST(LocateCgroupsTest, NoMemoryControllerIsNoError) {
  FakeTree tree;
  tree.Write("proc/self/cgroup", "0::/\n");
  tree.Write("proc/self/mountinfo", "");
  const auto location = LocateCgroups(tree.root());
  ASSERT_TRUE(location.ok()) << location.status();
  EXPECT_EQ(location->memory_version, 0);
  EXPECT_THAT(location->memory_directories, IsEmpty());
}

TEST(LocateCgroupsTest, AnUnknownProcessIsNotFound) {
  FakeTree tree;
  tree.Write("proc/self/mountinfo", "");
  EXPECT_EQ(LocateCgroups(tree.root(), "999").status().code(), absl::StatusCode::kNotFound);
}

TEST(HierarchyPlaceTest, FindsAControllerOfVersion1) {
  const FakeTree tree;
  tree.Write("proc/self/cgroup", "5:cpu,cpuacct:/a/b\n4:memory:/c\n0::/\n");
  tree.Write("proc/self/mountinfo",
             "30 20 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
             "31 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "32 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  tree.Write("sys/fs/cgroup/cpu/a/b/cpu.shares", "1024\n");
  const auto place = LocateVersion1("cpu", tree.root());
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->path, "/a/b");
  EXPECT_THAT(place->directories,
              ElementsAre(tree.root() + "/sys/fs/cgroup/cpu/a/b", tree.root() + "/sys/fs/cgroup/cpu/a",
                          tree.root() + "/sys/fs/cgroup/cpu"));
  EXPECT_FALSE(LocateVersion1("blkio", tree.root()).has_value());
  EXPECT_FALSE(LocateVersion1("cpu", tree.root() + "/nowhere").has_value());
}

TEST(MemoryCgroupsTest, AreMissedWhereTheKernelSaysSo) {
  const FakeTree tree;
  EXPECT_FALSE(HasNoMemoryCgroups(tree.root())) << "nothing is known";
  tree.Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t0\t1\t0\n");
  EXPECT_TRUE(HasNoMemoryCgroups(tree.root()));
  tree.Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t1\n");
  EXPECT_FALSE(HasNoMemoryCgroups(tree.root()));
  tree.Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\n");
  EXPECT_TRUE(HasNoMemoryCgroups(tree.root()));
}

}  // namespace
}  // namespace ballast::os
