#include "worker/environment/limited_group.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"
#include "worker/environment/run_environment.h"

namespace ballast::environment {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kLimit = 64ULL << 20U;

v1::EnvironmentProfile Profile(std::uint64_t memory_bytes = kLimit) {
  v1::EnvironmentProfile profile;
  profile.set_name("tiny");
  profile.set_memory_bytes(memory_bytes);
  profile.mutable_swap()->set_kind(v1::SwapLimit::NONE);
  return profile;
}

class LimitedGroupVersion1Test : public GroupFixture {
 protected:
  void SetUp() override {
    Locate(1);
    if (!IsSkipped()) home_ = CgroupHome::Prepare();
  }

  std::optional<EnvironmentRefusal> Make(const v1::EnvironmentProfile& profile) {
    return LimitedGroup::Make(home_.get(), profile, {.root = "/", .disk_directory = directory_}, &group_);
  }
  // Groups with the limits of a profile that are left, in every hierarchy that may have some.
  [[nodiscard]] std::vector<std::string> GroupsLeft() const {
    std::vector<std::string> parents = {location_.memory_directories.front(), location_.unified_directory};
    for (const char* const controller : {"cpu", "blkio"}) {
      if (const auto place = os::LocateVersion1(controller)) parents.push_back(place->directories.front());
    }
    std::vector<std::string> left;
    for (const std::string& parent : parents) {
      if (parent.empty()) continue;
      for (const auto& entry : std::filesystem::directory_iterator(parent)) {
        const std::string own = std::string(kEnvironmentGroupPrefix) + std::to_string(::getpid()) + "-";
        if (entry.path().filename().string().starts_with(own)) left.push_back(entry.path());
      }
    }
    return left;
  }

  std::unique_ptr<CgroupHome> home_;
  LimitedGroup group_;
};

TEST_F(LimitedGroupVersion1Test, HasTheLimitsAndSaysWhatWasReadBack) {
  v1::EnvironmentProfile profile = Profile();
  profile.set_cpus(0.5);
  profile.set_cpu_weight(50);
  profile.set_swappiness(10);
  profile.set_memory_high_bytes(kLimit / 2);
  const auto refusal = Make(profile);
  ASSERT_FALSE(refusal) << refusal->ToText();
  const v1::AppliedEnvironment& applied = group_.applied();
  EXPECT_EQ(applied.profile_name(), "tiny");
  EXPECT_EQ(applied.cgroup_version(), 1U);
  EXPECT_EQ(applied.cgroup(), group_.location().memory_path);
  EXPECT_EQ(applied.memory_bytes(), kLimit);
  EXPECT_EQ(applied.swap_bytes(), 0U);
  const std::string directory = group_.location().memory_directories.front();
  EXPECT_THAT(applied.readings(), Contains(directory + "/memory.limit_in_bytes: 67108864"));
  EXPECT_THAT(applied.readings(), Contains(directory + "/memory.memsw.limit_in_bytes: 67108864"));
  EXPECT_THAT(applied.readings(), Contains(HasSubstr("cpu.cfs_quota_us: 50000 of 100000")));
  EXPECT_THAT(applied.readings(), Contains(HasSubstr("cpu.shares: 512")));
  EXPECT_THAT(applied.remarks(), Contains(HasSubstr("memory_high_bytes")));
  EXPECT_EQ(base::ReadFile(directory + "/memory.swappiness").value(), "10\n");
  EXPECT_FALSE(GroupsLeft().empty());
  group_ = LimitedGroup();
  EXPECT_THAT(GroupsLeft(), IsEmpty());
}

TEST_F(LimitedGroupVersion1Test, RunsStandBelowItAndInEachOfItsGroups) {
  const auto refusal = Make(Profile());
  ASSERT_FALSE(refusal) << refusal->ToText();
  auto run = RunEnvironment::Create(home_.get(), &group_);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->own_group());
  EXPECT_EQ(run->location().memory_directories[1], group_.location().memory_directories.front());
  base::ChildOptions options;
  options.argv = {"/bin/cat", "/proc/self/cgroup"};
  options.argv = {"/bin/sh", "-c", "cat /proc/self/cgroup > " + Path("place")};
  options.cgroups = run->cgroups();
  auto child = base::ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = 0}));
  const std::string place = base::ReadFile(Path("place")).value();
  EXPECT_THAT(place, HasSubstr(":memory:" + run->location().memory_path + "\n"));
  if (!location_.unified_directory.empty()) {
    const std::string unified = run->location().unified_directory;
    EXPECT_THAT(place, HasSubstr(unified.substr(unified.rfind('/'))));
  }
}

TEST_F(LimitedGroupVersion1Test, AParentWithLessIsRefusedAndNothingIsLeft) {
  auto parent = OwnGroup::Create(home_->base(), "ballast-test-");
  ASSERT_TRUE(parent.ok()) << parent.status();
  ASSERT_TRUE(parent->Write("memory.limit_in_bytes", std::to_string(kLimit / 2)).ok());
  const std::string before = location_.memory_directories.front() + "/cgroup.procs";
  ASSERT_TRUE(parent->Write("cgroup.procs", "0").ok());
  const auto inner = CgroupHome::Prepare();
  LimitedGroup group;
  const auto refusal = LimitedGroup::Make(inner.get(), Profile(), {}, &group);
  const bool empty = std::filesystem::is_directory(parent->directory());
  int left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(parent->directory()))
    left += entry.is_directory() ? 1 : 0;
  ASSERT_TRUE(WriteText(before, "0"));
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("'tiny' wants memory of 64 MiB, and a cgroup above it allows only 32 MiB"));
  EXPECT_EQ(refusal->place, parent->directory() + "/memory.limit_in_bytes: 33554432");
  EXPECT_TRUE(empty);
  EXPECT_EQ(left, 0);
}

TEST_F(LimitedGroupVersion1Test, ADeviceWithLessMemoryIsRefused) {
  const auto refusal = Make(Profile(1ULL << 50U));
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("another, smaller machine"));
  EXPECT_EQ(refusal->place, "/proc/meminfo: MemTotal");
  EXPECT_THAT(GroupsLeft(), IsEmpty());
}

TEST_F(LimitedGroupVersion1Test, ADirectoryOnNoDiskHasNoDiskToLimit) {
  v1::EnvironmentProfile profile = Profile();
  profile.set_io_read_bytes_per_second(1 << 20);
  const auto refusal = LimitedGroup::Make(home_.get(), profile, {.root = "/", .disk_directory = "/proc"}, &group_);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->ToText(), HasSubstr("/proc is on no disk, but on proc"));
}

TEST_F(LimitedGroupVersion1Test, IsSweptWithAllThatIsBelowItWhereItsOwnerIsGone) {
  auto left = OwnGroup::Create(home_->base(), kEnvironmentGroupPrefix);
  ASSERT_TRUE(left.ok()) << left.status();
  auto run = MakeRunGroupBelow(left->location());
  ASSERT_TRUE(run.ok()) << run.status();
  base::ChildOptions options;
  options.argv = {"/bin/sleep", "1000"};
  options.cgroups = {run->directory()};
  auto child = base::ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  const std::string directory = left->directory();
  run->Abandon();
  left->Abandon();
  (void)CgroupHome::Prepare();
  EXPECT_FALSE(std::filesystem::exists(directory));
  EXPECT_EQ(child->Wait(kPatience), (base::ExitStatus{.exit_code = 0, .signal = SIGKILL}));
}

TEST_F(LimitedGroupVersion1Test, GoesWithItsOwnerHoweverThatEnds) {
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    LimitedGroup group;
    if (LimitedGroup::Make(home_.get(), Profile(), {}, &group)) ::_exit(1);
    auto run = group.MakeRunGroup();
    if (!run.ok()) ::_exit(2);
    Write("directory", group.location().memory_directories.front() + "\n");
    while (true) ::pause();
  }
  std::string directory = WaitForContent(Path("directory"));
  directory.pop_back();
  EXPECT_TRUE(std::filesystem::is_directory(directory));
  ::kill(owner, SIGKILL);
  EXPECT_EQ(::waitpid(owner, nullptr, 0), owner);
  EXPECT_TRUE(WaitUntil([&] { return !std::filesystem::exists(directory); }));
}

TEST_F(LimitedGroupVersion1Test, AColdPageCacheIsRefusedWhereItMayNotBeDropped) {
  v1::EnvironmentProfile profile = Profile();
  profile.set_page_cache(v1::COLD);
  // A tree with this machine's groups, and without the file.
  Write("proc/meminfo", "MemTotal: 24000000 kB\nMemAvailable: 20000000 kB\n");
  const auto refusal = LimitedGroup::Make(home_.get(), profile, {.root = directory_, .disk_directory = "."}, &group_);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->place, Path("proc/sys/vm/drop_caches"));
  Write("proc/sys/vm/drop_caches", "");
  const auto second = LimitedGroup::Make(home_.get(), profile, {.root = directory_, .disk_directory = "."}, &group_);
  EXPECT_FALSE(second) << second->ToText();
  EXPECT_EQ(base::ReadFile(Path("proc/sys/vm/drop_caches")).value(), "1");
}

TEST(LimitedGroupTest, WithoutAHomeThereIsNone) {
  LimitedGroup group;
  const auto refusal = LimitedGroup::Make(nullptr, Profile(), {}, &group);
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("'tiny'"));
}

// Trees of a kernel that lacks something: nothing can be made in plain files.
class LimitedGroupRefusalTest : public DirectoryFixture {
 protected:
  std::optional<EnvironmentRefusal> Make() {
    home_ = CgroupHome::Prepare(directory_);
    return LimitedGroup::Make(home_.get(), Profile(), {.root = directory_, .disk_directory = "."}, &group_);
  }

  std::unique_ptr<CgroupHome> home_;
  LimitedGroup group_;
};

TEST_F(LimitedGroupRefusalTest, AKernelWithoutTheMemoryController) {
  Write("proc/self/cgroup", "0::/box\n");
  Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/cgroup.controllers", "cpu io\n");
  Write("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n");
  const auto refusal = Make();
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("'tiny' cannot be set up: no memory cgroup is mounted: the kernel was"));
  EXPECT_THAT(refusal->next_step, HasSubstr("cgroup_disable=memory"));
}

TEST_F(LimitedGroupRefusalTest, ASharedGroupOfVersion2) {
  Write("proc/self/cgroup", "0::/box\n");
  Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  Write("sys/fs/cgroup/box/cgroup.type", "domain\n");
  Write("sys/fs/cgroup/box/cgroup.controllers", "cpu memory\n");
  Write("sys/fs/cgroup/box/cgroup.procs", "1\n" + std::to_string(::getpid()) + "\n");
  const auto refusal = Make();
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("1 other process"));
  EXPECT_THAT(refusal->next_step, HasSubstr("systemd-run"));
}

}  // namespace
}  // namespace ballast::environment
