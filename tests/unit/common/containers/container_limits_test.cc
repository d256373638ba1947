#include "common/containers/container_limits.h"

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::containers {
namespace {

using environment::EnvironmentRefusal;
using profiles::Engine;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kMib = 1U << 20U;
constexpr char kId[] = "0123456789abcdef";

v1::EnvironmentProfile Profile(std::uint64_t memory_mib, std::uint64_t swap_mib = 0, double cpus = 0) {
  v1::EnvironmentProfile profile;
  profile.set_name("p");
  profile.set_memory_bytes(memory_mib * kMib);
  if (swap_mib > 0) {
    profile.mutable_swap()->set_kind(v1::SwapLimit::DEVICE);
    profile.mutable_swap()->set_size_bytes(swap_mib * kMib);
  }
  profile.set_cpus(cpus);
  return profile;
}

// What is in the way, as text; empty where nothing is.
std::string Cause(const std::optional<EnvironmentRefusal>& refusal) {
  return refusal ? refusal->ToText() : "";
}

// A machine with cgroups of version 2, and a container's process in it, in a cgroup that its runtime made there.
class Version2 {
 public:
  Version2() {
    tree_.Write("proc/77/cgroup", fmt::format("0::/system.slice/docker-{}.scope/container\n", kId));
    tree_.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    tree_.Write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    tree_.Write(fmt::format("sys/fs/cgroup/system.slice/docker-{}.scope/container/memory.max", kId), "max\n");
    Limit("memory.max", fmt::format("{}\n", 512 * kMib));
    Limit("memory.swap.max", "0\n");
    Limit("memory.high", "max\n");
    Limit("cpu.max", "150000 100000\n");
    Limit("cpu.weight", "100\n");
    Limit("io.max", "");
  }
  void Limit(const std::string& file, const std::string& value) const {
    tree_.Write(fmt::format("sys/fs/cgroup/system.slice/docker-{}.scope/{}", kId, file), value);
  }
  std::string Check(const v1::EnvironmentProfile& profile, Engine engine = Engine::kDocker,
                    const std::string& io_device = "") {
    applied_.Clear();
    const auto place = LocateContainer(77, kId, tree_.root());
    EXPECT_TRUE(place.ok()) << place.status();
    return Cause(CheckContainer(profile, {.engine = engine, .io_device = io_device}, *place, tree_.root(), &applied_));
  }

  os::FakeTree tree_;
  v1::AppliedEnvironment applied_;
};

TEST(ContainerLimitsTest, Version2IsReadBack) {
  Version2 machine;
  EXPECT_EQ(machine.Check(Profile(512, 0, 1.5)), "");
  EXPECT_EQ(machine.applied_.cgroup_version(), 2U);
  EXPECT_EQ(machine.applied_.memory_bytes(), 512 * kMib);
  EXPECT_EQ(machine.applied_.swap_bytes(), 0U);
  EXPECT_EQ(machine.applied_.profile_name(), "p");
  EXPECT_THAT(machine.applied_.readings(), Contains(HasSubstr(".scope/memory.max: 536870912")));
  EXPECT_THAT(machine.Check(Profile(500)),
              HasSubstr("'p' wants memory of 500 MiB, and the kernel made 512 MiB of it (at "));
  EXPECT_THAT(machine.Check(Profile(512, 0, 2)), HasSubstr("processors of 2 processors, and the kernel made 1.5"));
}

TEST(ContainerLimitsTest, ADiscardedLimitIsRefusedWithWhatWasRead) {
  Version2 machine;
  machine.Limit("memory.max", "max\n");
  EXPECT_THAT(machine.Check(Profile(512)), HasSubstr("the kernel made no limit of it"));
  EXPECT_THAT(machine.applied_.readings(), Contains(HasSubstr(".scope/memory.max: max")));
  machine.Limit("memory.max", fmt::format("{}\n", 512 * kMib));
  machine.Limit("memory.swap.max", "max\n");
  EXPECT_THAT(machine.Check(Profile(512)), HasSubstr("wants swap of 0 B, and the kernel made no limit of it"));
  machine.Limit("memory.swap.max", "0\n");
  machine.Limit("cpu.max", "max 100000\n");
  EXPECT_THAT(machine.Check(Profile(512, 0, 1.5)), HasSubstr("no limit"));
}

TEST(ContainerLimitsTest, EveryLimitOfTheProfileIsReadBack) {
  Version2 machine;
  v1::EnvironmentProfile profile = Profile(512);
  profile.set_memory_high_bytes(400 * kMib);
  EXPECT_EQ(machine.Check(profile, Engine::kDocker), "") << "docker has no flag for it";
  EXPECT_THAT(machine.Check(profile, Engine::kPodman), HasSubstr("memory_high_bytes"));
  machine.Limit("memory.high", fmt::format("{}\n", 400 * kMib));
  EXPECT_EQ(machine.Check(profile, Engine::kPodman), "");

  profile = Profile(512);
  profile.set_cpu_weight(50);
  EXPECT_THAT(machine.Check(profile, Engine::kPodman), HasSubstr("weight of the processors of 50"));
  EXPECT_EQ(machine.Check(profile, Engine::kDocker), "") << "docker's runtime converts by rules of its own";
  EXPECT_THAT(machine.applied_.remarks(), Contains(HasSubstr("the kernel made 100 of it")));
  machine.Limit("cpu.weight", "50\n");
  EXPECT_EQ(machine.Check(profile, Engine::kDocker), "");
  EXPECT_THAT(machine.applied_.remarks(), IsEmpty());

  profile = Profile(512);
  profile.set_io_read_bytes_per_second(kMib);
  EXPECT_THAT(machine.Check(profile, Engine::kDocker, "/dev/sda"), HasSubstr("reading from the disk"));
}

TEST(ContainerLimitsTest, ATighterGroupAboveMakesItAnotherMachine) {
  Version2 machine;
  machine.tree_.Write("sys/fs/cgroup/system.slice/memory.max", fmt::format("{}\n", 256 * kMib));
  EXPECT_THAT(machine.Check(Profile(512)), HasSubstr("a cgroup above it allows only 256 MiB"));
  machine.tree_.Write("sys/fs/cgroup/system.slice/memory.max", "max\n");
  machine.tree_.Write("sys/fs/cgroup/system.slice/cpu.max", "100000 100000\n");
  EXPECT_THAT(machine.Check(Profile(512, 0, 1.5)), HasSubstr("a cgroup above it allows only 1 processor"));
  machine.tree_.Write("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
  machine.tree_.Write("sys/fs/cgroup/system.slice/memory.high", fmt::format("{}\n", 256 * kMib));
  EXPECT_THAT(machine.Check(Profile(512)), HasSubstr("memory.high: 268435456"));
}

TEST(ContainerLimitsTest, APageMoreOrLessIsTheSame) {
  Version2 machine;
  machine.Limit("memory.max", fmt::format("{}\n", 512 * kMib - 4096));
  EXPECT_EQ(machine.Check(Profile(512)), "");
}

TEST(ContainerLimitsTest, SwapThatCannotBeLimitedIsRefusedWhereThereIsAny) {
  Version2 machine;
  std::filesystem::remove(machine.tree_.root() +
                          fmt::format("/sys/fs/cgroup/system.slice/docker-{}.scope/memory.swap.max", kId));
  EXPECT_EQ(machine.Check(Profile(512)), "") << "there is nothing to limit";
  EXPECT_THAT(machine.applied_.remarks(), SizeIs(1));
  machine.tree_.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1048572 0 -2\n");
  EXPECT_THAT(machine.Check(Profile(512)), HasSubstr("the kernel cannot limit it"));
}

TEST(ContainerLimitsTest, Version1IsReadBack) {
  os::FakeTree tree;
  tree.Write("proc/77/cgroup", fmt::format("9:cpu,cpuacct:/docker/{0}\n4:memory:/docker/{0}\n0::/\n", kId));
  tree.Write("proc/self/mountinfo",
             "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  tree.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1048572 0 -2\n");
  const std::string memory = fmt::format("sys/fs/cgroup/memory/docker/{}/", kId);
  tree.Write(memory + "memory.limit_in_bytes", fmt::format("{}\n", 512 * kMib));
  tree.Write(memory + "memory.memsw.limit_in_bytes", fmt::format("{}\n", 768 * kMib));
  tree.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const std::string cpu = fmt::format("sys/fs/cgroup/cpu,cpuacct/docker/{}/", kId);
  tree.Write(cpu + "cpu.cfs_quota_us", "200000\n");
  tree.Write(cpu + "cpu.cfs_period_us", "100000\n");
  v1::AppliedEnvironment applied;
  const auto check = [&](const v1::EnvironmentProfile& profile) {
    applied.Clear();
    const auto place = LocateContainer(77, kId, tree.root());
    EXPECT_TRUE(place.ok()) << place.status();
    return Cause(CheckContainer(profile, {.cgroup_version = 1, .io_device = ""}, *place, tree.root(), &applied));
  };
  EXPECT_EQ(check(Profile(512, 256, 2)), "");
  EXPECT_EQ(applied.cgroup_version(), 1U);
  EXPECT_EQ(applied.swap_bytes(), 256 * kMib);
  EXPECT_THAT(check(Profile(512, 128, 2)), HasSubstr("memory and swap together of 640 MiB"));
  v1::EnvironmentProfile profile = Profile(512, 256, 2);
  profile.set_swappiness(10);
  tree.Write(memory + "memory.swappiness", "60\n");
  EXPECT_EQ(check(profile), "");
  EXPECT_THAT(applied.remarks(), Contains(HasSubstr("The swappiness of the profile is not set as asked")));
  // The quota of a group above holds as well.
  tree.Write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "100000\n");
  tree.Write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_THAT(check(Profile(512, 256, 2)), HasSubstr("a cgroup above it allows only 1 processor"));
  tree.Write(cpu + "cpu.cfs_quota_us", "-1\n");
  EXPECT_THAT(check(Profile(512, 256, 2)), HasSubstr("no limit"));
  // One that is not visible from here.
  tree.Write(memory + "memory.stat", "hierarchical_memory_limit 268435456\n");
  EXPECT_THAT(check(Profile(512, 256)), HasSubstr("a cgroup above it allows only 256 MiB"));
}

TEST(ContainerLimitsTest, AnotherProcessOfTheSameNumberIsNotTheContainer) {
  const Version2 machine;
  EXPECT_TRUE(absl::IsNotFound(LocateContainer(77, "fedcba", machine.tree_.root()).status()));
  EXPECT_TRUE(absl::IsNotFound(LocateContainer(78, kId, machine.tree_.root()).status()));
}

TEST(ContainerLimitsTest, AKernelWithoutMemoryCgroupsIsRefused) {
  os::FakeTree tree;
  tree.Write("proc/77/cgroup", fmt::format("0::/docker-{}\n", kId));
  tree.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.Write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
  const absl::Status status = LocateContainer(77, kId, tree.root()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("without memory cgroups"));
}

TEST(ContainerLimitsTest, TheMachineMustHaveTheMemoryAndTheSwap) {
  os::FakeTree tree;
  EXPECT_EQ(Cause(CheckMachine(Profile(512), tree.root())), "");
  EXPECT_THAT(Cause(CheckMachine(Profile(512, 256), tree.root())),
              HasSubstr("wants 256 MiB of swap, and the device has 0 B"));
  tree.Write("proc/swaps", "Filename Type Size Used Priority\n/swapfile file 262140 0 -2\n");
  EXPECT_EQ(Cause(CheckMachine(Profile(512, 256), tree.root())), "") << "but for the page of its header";
  v1::EnvironmentProfile zram = Profile(512, 256);
  zram.mutable_swap()->set_kind(v1::SwapLimit::ZRAM);
  EXPECT_THAT(Cause(CheckMachine(zram, tree.root())), HasSubstr("compressed memory (zram)"));
  tree.Write("proc/swaps",
             "Filename Type Size Used Priority\n/swapfile file 262140 0 100\n/dev/zram0 partition 262140 0 100\n");
  EXPECT_THAT(Cause(CheckMachine(zram, tree.root())), HasSubstr("swaps to /swapfile as soon"));
  tree.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 262140 0 100\n");
  EXPECT_EQ(Cause(CheckMachine(zram, tree.root())), "");
  tree.Write("proc/meminfo", "MemTotal: 131072 kB\n");
  EXPECT_THAT(Cause(CheckMachine(zram, tree.root())), HasSubstr("another, smaller machine"));
}

TEST(ContainerLimitsTest, OomKillsOfBothVersions) {
  EXPECT_EQ(ParseOomKills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"), 2U);
  EXPECT_EQ(ParseOomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1U);
  EXPECT_EQ(ParseOomKills(""), 0U);
}

}  // namespace
}  // namespace ballast::containers
