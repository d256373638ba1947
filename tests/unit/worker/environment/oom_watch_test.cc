#include "worker/environment/oom_watch.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include <vector>

#include "tests/unit/worker/environment/group_fixture.h"
#include "worker/environment/own_group.h"

namespace ballast::environment {
namespace {

using std::chrono::seconds;

// Version 2 in plain files: /slice/box/run, with the counts that a kernel would have after each act.
class OomWatchVersion2Test : public DirectoryFixture {
 protected:
  OomWatchVersion2Test() {
    location_.memory_version = 2;
    location_.memory_path = "/slice/box/run";
    location_.memory_directories = {Path("slice/box/run"), Path("slice/box"), Path("slice"), directory_};
    Write("proc/vmstat", "oom_kill 7\n");
    for (const char* group : {"slice/box/run", "slice/box", "slice"}) {
      SetCounts(group, 3, 2);
      SetLocalHits(group, 1);
    }
  }

  void SetCounts(const std::string& group, int hits, int kills) {
    Write(group + "/memory.events", "low 0\nhigh 0\nmax 9\noom " + std::to_string(hits) + "\noom_kill " +
                                        std::to_string(kills) + "\noom_group_kill 0\n");
  }
  void SetLocalHits(const std::string& group, int hits) {
    Write(group + "/memory.events.local", "low 0\nhigh 0\nmax 9\noom " + std::to_string(hits) + "\noom_kill 0\n");
  }

  os::CgroupLocation location_;
};

TEST_F(OomWatchVersion2Test, NothingHasHappened) {
  OomWatch watch = OomWatch::Open(location_, directory_);
  const OomCounts counts = watch.SinceStart();
  EXPECT_EQ(counts.kills, 0U);
  EXPECT_EQ(counts.machine_kills, 0U);
  EXPECT_EQ(counts.limit_hits, 0U);
  EXPECT_EQ(counts.limit_cgroup, "");
  EXPECT_TRUE(watch.sees_every_limit());
}

TEST_F(OomWatchVersion2Test, AKillForTheMachineHitsNoLimit) {
  OomWatch watch = OomWatch::Open(location_, directory_);
  for (const char* group : {"slice/box/run", "slice/box", "slice"}) SetCounts(group, 3, 3);
  Write("proc/vmstat", "oom_kill 8\n");
  const OomCounts counts = watch.Recent();
  EXPECT_EQ(counts.kills, 1U);
  EXPECT_EQ(counts.machine_kills, 1U);
  EXPECT_EQ(counts.limit_hits, 0U);
}

TEST_F(OomWatchVersion2Test, AHitIsNamedWithItsVictims) {
  OomWatch watch = OomWatch::Open(location_, directory_);
  SetCounts("slice/box/run", 3, 3);
  SetCounts("slice/box", 4, 4);  // the runner, and a neighbour
  SetCounts("slice", 4, 4);
  SetLocalHits("slice/box", 2);
  const OomCounts counts = watch.Recent();
  EXPECT_EQ(counts.limit_hits, 1U);
  EXPECT_EQ(counts.limit_cgroup, "/slice/box");
  EXPECT_EQ(counts.kills, 1U);
  EXPECT_EQ(counts.kills_under_limit, 2U);
}

TEST_F(OomWatchVersion2Test, OlderKernelsCountForAncestorsToo) {
  for (const char* group : {"slice/box/run", "slice/box", "slice"}) {
    std::filesystem::remove(Path(std::string(group) + "/memory.events.local"));
  }
  OomWatch watch = OomWatch::Open(location_, directory_);
  SetCounts("slice/box/run", 3, 3);
  SetCounts("slice/box", 4, 3);
  SetCounts("slice", 4, 3);
  const OomCounts counts = watch.Recent();
  EXPECT_EQ(counts.limit_hits, 1U);
  EXPECT_EQ(counts.limit_cgroup, "/slice/box");
}

TEST_F(OomWatchVersion2Test, WhatIsLongAgoIsNotRecent) {
  OomWatch watch = OomWatch::Open(location_, directory_);
  SetCounts("slice/box/run", 3, 3);
  SetLocalHits("slice/box", 2);
  watch.Observe(seconds(5));
  EXPECT_EQ(watch.Recent().kills, 1U);
  watch.Observe(seconds(9));
  EXPECT_EQ(watch.Recent().kills, 1U) << "no five seconds have passed";
  watch.Observe(seconds(10));
  EXPECT_EQ(watch.Recent().kills, 0U);
  EXPECT_EQ(watch.Recent().limit_hits, 0U);
  EXPECT_EQ(watch.SinceStart().kills, 1U);
  EXPECT_EQ(watch.SinceStart().limit_cgroup, "/slice/box");
}

TEST_F(OomWatchVersion2Test, AContainerDoesNotSeeEveryLimit) {
  Write("cgroup.type", "domain\n");
  EXPECT_FALSE(OomWatch::Open(location_, directory_).sees_every_limit());
}

TEST_F(OomWatchVersion2Test, AKernelWithoutMemoryCgroupsHasNoLimits) {
  Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nmemory\t0\t1\t0\n");
  OomWatch off = OomWatch::Open({}, directory_);
  EXPECT_TRUE(off.sees_every_limit());
  EXPECT_FALSE(off.SinceStart().kills.has_value());
  EXPECT_EQ(off.SinceStart().machine_kills, 0U);
  Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t1\n");
  EXPECT_FALSE(OomWatch::Open({}, directory_).sees_every_limit());
}

class OomdMarksTest : public GroupFixture {};

TEST_F(OomdMarksTest, AreReadFromTheCgroup) {
  Locate(2);
  if (IsSkipped()) return;
  const auto group = OwnGroup::Create(location_, "ballast-test-");
  ASSERT_TRUE(group.ok()) << group.status();
  OomWatch watch = OomWatch::Open(group->location());
  EXPECT_EQ(watch.Recent().oomd_marks, 0U);
  if (::setxattr(group->directory().c_str(), "user.oomd_ooms", "1", 1, 0) != 0)
    GTEST_SKIP() << "this kernel has no user attributes on cgroups";
  EXPECT_EQ(watch.Recent().oomd_marks, 1U);
  EXPECT_EQ(watch.Recent().oomd_cgroup, group->location().memory_path);
}

// The real counts of a real kernel: version 1.
class OomWatchVersion1Test : public GroupFixture {
 protected:
  static constexpr std::uint64_t kLimit = 48U << 20U;

  void SetUp() override {
    Locate(1);
    if (IsSkipped()) return;
    auto outer = OwnGroup::Create(location_, "ballast-test-");
    if (!outer.ok() || !outer->Write("memory.limit_in_bytes", std::to_string(kLimit)).ok())
      GTEST_SKIP() << "cannot limit a cgroup";
    (void)outer->Write("memory.memsw.limit_in_bytes", std::to_string(kLimit));
    outer_ = *std::move(outer);
    run_ = OwnGroup::Create(outer_.location(), "ballast-test-").value();
    neighbour_ = OwnGroup::Create(outer_.location(), "ballast-test-").value();
  }

  // Fills memory in a cgroup until the kernel ends it.
  static void RunOutOfMemory(const OwnGroup& group) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (!WriteText(group.procs_file(), "0")) ::_exit(1);
      void* const memory =
          ::mmap(nullptr, 2 * kLimit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      ::_exit(memory == MAP_FAILED ? 2 : 3);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  }

  OwnGroup outer_;
  OwnGroup run_;
  OwnGroup neighbour_;
};

TEST_F(OomWatchVersion1Test, AHitOfAnAncestorsLimitIsNamed) {
  OomWatch watch = OomWatch::Open(run_.location());
  EXPECT_TRUE(watch.sees_every_limit());
  RunOutOfMemory(run_);
  const OomCounts counts = watch.Recent();
  EXPECT_EQ(counts.kills, 1U);
  EXPECT_GE(counts.machine_kills, 1U);
  EXPECT_GE(counts.limit_hits, 1U);
  EXPECT_EQ(counts.limit_cgroup, outer_.location().memory_path);
}

TEST_F(OomWatchVersion1Test, AHitOfTheRunnersOwnLimitIsNamed) {
  ASSERT_TRUE(run_.Write("memory.limit_in_bytes", std::to_string(kLimit / 2)).ok());
  OomWatch watch = OomWatch::Open(run_.location());
  RunOutOfMemory(run_);
  EXPECT_EQ(watch.Recent().limit_cgroup, run_.location().memory_path);
}

TEST_F(OomWatchVersion1Test, ANeighboursEndIsNotTheRunners) {
  ASSERT_TRUE(neighbour_.Write("memory.limit_in_bytes", std::to_string(kLimit / 2)).ok());
  OomWatch watch = OomWatch::Open(run_.location());
  RunOutOfMemory(neighbour_);
  const OomCounts counts = watch.Recent();
  EXPECT_EQ(counts.kills, 0U);
  EXPECT_EQ(counts.limit_hits, 0U);
  EXPECT_GE(counts.machine_kills, 1U);
}

}  // namespace
}  // namespace ballast::environment
