#include "cli/container_limits.h"

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "cli/error_text.h"
#include "tests/unit/common/os/fake_tree.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

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

// A machine with cgroups of version 2, and a container's process in it.
class Version2 {
 public:
  Version2() {
    tree_.Write("proc/77/cgroup", fmt::format("0::/system.slice/docker-{}.scope\n", kId));
    tree_.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    tree_.Write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    Limit("memory.max", fmt::format("{}\n", 512 * kMib));
    Limit("memory.swap.max", "0\n");
    Limit("cpu.max", "150000 100000\n");
  }
  void Limit(const std::string& file, const std::string& value) const {
    tree_.Write(fmt::format("sys/fs/cgroup/system.slice/docker-{}.scope/{}", kId, file), value);
  }
  [[nodiscard]] absl::StatusOr<ContainerReading> Read() const { return ReadContainerLimits(77, kId, tree_.root()); }

  os::FakeTree tree_;
};

TEST(ContainerLimitsTest, Version2IsReadBack) {
  const Version2 machine;
  const auto reading = machine.Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->cgroup_version, 2);
  EXPECT_EQ(reading->memory_bytes, 512 * kMib);
  EXPECT_EQ(reading->swap_bytes, 0U);
  EXPECT_EQ(reading->cpus, 1.5);
  EXPECT_THAT(reading->readings, testing::Contains(HasSubstr(".scope/memory.max: 536870912")));
  EXPECT_TRUE(CheckLimits(Profile(512, 0, 1.5), *reading).ok());
  EXPECT_THAT(
      std::string(CheckLimits(Profile(500), *reading).message()),
      HasSubstr("does not have the memory of p: 500 MiB (524288000 bytes) was asked for, the kernel has 512 MiB"));
  EXPECT_THAT(std::string(CheckLimits(Profile(512, 0, 2), *reading).message()),
              HasSubstr("2 were asked for, the kernel has 1.5"));
  EXPECT_THAT(std::string(CheckLimits(Profile(512, 64), *reading).message()), HasSubstr("the swap of p"));
}

TEST(ContainerLimitsTest, ADiscardedLimitIsRefusedWithWhatWasRead) {
  const Version2 machine;
  machine.Limit("memory.max", "max\n");
  const absl::Status status = CheckLimits(Profile(512), *machine.Read());
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(FormatError(status), HasSubstr("the kernel has no limit"));
  EXPECT_THAT(FormatError(status), HasSubstr("memory.swap.max: 0"));
  machine.Limit("memory.max", fmt::format("{}\n", 512 * kMib));
  machine.Limit("memory.swap.max", "max\n");
  EXPECT_THAT(std::string(CheckLimits(Profile(512), *machine.Read()).message()),
              HasSubstr("0 B (0 bytes) was asked for, the kernel has no limit"));
  machine.Limit("memory.swap.max", "0\n");
  machine.Limit("cpu.max", "max 100000\n");
  EXPECT_FALSE(CheckLimits(Profile(512, 0, 1.5), *machine.Read()).ok());
}

TEST(ContainerLimitsTest, ATighterGroupAboveMakesItAnotherMachine) {
  const Version2 machine;
  machine.tree_.Write("sys/fs/cgroup/system.slice/memory.max", fmt::format("{}\n", 256 * kMib));
  const auto reading = machine.Read();
  EXPECT_EQ(reading->memory_bytes, 256 * kMib);
  EXPECT_FALSE(CheckLimits(Profile(512), *reading).ok());
}

TEST(ContainerLimitsTest, APageMoreOrLessIsTheSame) {
  const Version2 machine;
  machine.Limit("memory.max", fmt::format("{}\n", 512 * kMib - 4096));
  EXPECT_TRUE(CheckLimits(Profile(512), *machine.Read()).ok());
}

TEST(ContainerLimitsTest, SwapThatCannotBeLimitedIsRefusedWhereThereIsAny) {
  Version2 machine;
  std::filesystem::remove(machine.tree_.root() +
                          fmt::format("/sys/fs/cgroup/system.slice/docker-{}.scope/memory.swap.max", kId));
  EXPECT_TRUE(CheckLimits(Profile(512), *machine.Read()).ok()) << "there is nothing to limit";
  machine.tree_.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1048572 0 -2\n");
  EXPECT_THAT(std::string(CheckLimits(Profile(512), *machine.Read()).message()), HasSubstr("does not limit swap"));
}

TEST(ContainerLimitsTest, Version1IsReadBack) {
  os::FakeTree tree;
  tree.Write("proc/77/cgroup", fmt::format("9:cpu,cpuacct:/docker/{0}\n4:memory:/docker/{0}\n0::/\n", kId));
  tree.Write("proc/self/mountinfo",
             "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  const std::string memory = fmt::format("sys/fs/cgroup/memory/docker/{}/", kId);
  tree.Write(memory + "memory.limit_in_bytes", fmt::format("{}\n", 512 * kMib));
  tree.Write(memory + "memory.memsw.limit_in_bytes", fmt::format("{}\n", 768 * kMib));
  tree.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const std::string cpu = fmt::format("sys/fs/cgroup/cpu,cpuacct/docker/{}/", kId);
  tree.Write(cpu + "cpu.cfs_quota_us", "200000\n");
  tree.Write(cpu + "cpu.cfs_period_us", "100000\n");
  const auto reading = ReadContainerLimits(77, kId, tree.root());
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->cgroup_version, 1);
  EXPECT_EQ(reading->swap_bytes, 256 * kMib);
  EXPECT_TRUE(CheckLimits(Profile(512, 256, 2), *reading).ok());
  tree.Write(cpu + "cpu.cfs_quota_us", "-1\n");
  EXPECT_FALSE(CheckLimits(Profile(512, 256, 2), *ReadContainerLimits(77, kId, tree.root())).ok());
}

TEST(ContainerLimitsTest, AnotherProcessOfTheSameNumberIsNotTheContainer) {
  const Version2 machine;
  EXPECT_TRUE(absl::IsNotFound(ReadContainerLimits(77, "fedcba", machine.tree_.root()).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadContainerLimits(78, kId, machine.tree_.root()).status()));
}

TEST(ContainerLimitsTest, AKernelWithoutMemoryCgroupsIsRefused) {
  os::FakeTree tree;
  tree.Write("proc/77/cgroup", fmt::format("0::/docker-{}\n", kId));
  tree.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.Write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
  const absl::Status status = ReadContainerLimits(77, kId, tree.root()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("without memory cgroups"));
}

TEST(ContainerLimitsTest, TheMachineMustHaveTheSwap) {
  os::FakeTree tree;
  EXPECT_TRUE(CheckSwapOfMachine(Profile(512), tree.root()).ok());
  EXPECT_THAT(std::string(CheckSwapOfMachine(Profile(512, 256), tree.root()).message()),
              HasSubstr("p wants 256 MiB of swap, and this machine has none"));
  tree.Write("proc/swaps", "Filename Type Size Used Priority\n/swapfile file 262140 0 -2\n");
  EXPECT_TRUE(CheckSwapOfMachine(Profile(512, 256), tree.root()).ok()) << "but for the page of its header";
  v1::EnvironmentProfile zram = Profile(512, 256);
  zram.mutable_swap()->set_kind(v1::SwapLimit::ZRAM);
  EXPECT_THAT(std::string(CheckSwapOfMachine(zram, tree.root()).message()), HasSubstr("compressed swap (zram)"));
  tree.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 262140 0 100\n");
  EXPECT_TRUE(CheckSwapOfMachine(zram, tree.root()).ok());
}

TEST(ContainerLimitsTest, OomKillsOfBothVersions) {
  EXPECT_EQ(ParseOomKills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"), 2U);
  EXPECT_EQ(ParseOomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1U);
  EXPECT_EQ(ParseOomKills(""), 0U);
}

}  // namespace
}  // namespace ballast::cli
