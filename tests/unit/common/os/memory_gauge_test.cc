#include "common/os/memory_gauge.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

constexpr const char kMemInfo[] = "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 3145728 kB\n";

// A process in /outer/inner of the version 1 memory controller.
class Version1GaugeTest : public ::testing::Test {
 protected:
  Version1GaugeTest() {
    tree_.Write("proc/meminfo", kMemInfo);
    tree_.Write("proc/self/cgroup", "4:memory:/outer/inner\n0::/\n");
    tree_.Write("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    SetGroup("", 9223372036854771712U, 1000 * kMiB, 0);
    SetGroup("/outer", 9223372036854771712U, 300 * kMiB, 0);
    SetGroup("/outer/inner", 512 * kMiB, 300 * kMiB, 44 * kMiB);
  }

  void SetGroup(const std::string& path, std::uint64_t limit, std::uint64_t usage, std::uint64_t inactive_file) {
    const std::string directory = "sys/fs/cgroup/memory" + path;
    tree_.Write(directory + "/memory.limit_in_bytes", std::to_string(limit) + "\n");
    tree_.Write(directory + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
    tree_.Write(directory + "/memory.stat", "inactive_file 1\ntotal_inactive_file " + std::to_string(inactive_file) +
                                                "\nactive_file 1\ntotal_active_file 20971520\n");
  }

  FakeTree tree_;
};

TEST_F(Version1GaugeTest, TheGroupsUsageWithoutInactivePageCacheAgainstItsLimit) {
  auto gauge = MemoryGauge::Open(tree_.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes, 512 * kMiB);
  EXPECT_EQ(reading->used_bytes(), 256 * kMiB);
  EXPECT_DOUBLE_EQ(reading->used_percent(), 50);
  EXPECT_EQ(reading->headroom_bytes, 256 * kMiB);
  EXPECT_EQ(reading->file_bytes, 64 * kMiB);
  EXPECT_EQ(reading->available_file_bytes, 44 * kMiB);
  EXPECT_EQ((*gauge)->limit_source(), "/outer/inner");
}

TEST_F(Version1GaugeTest, SwapIsLeftWhereTheLimitOfBothTogetherLeavesIt) {
  tree_.Write("proc/meminfo", std::string(kMemInfo) + "SwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n");
  const std::string inner = "sys/fs/cgroup/memory/outer/inner";
  const auto swap_headroom = [this] {
    auto gauge = MemoryGauge::Open(tree_.root());
    EXPECT_TRUE(gauge.ok()) << gauge.status();
    const auto reading = (*gauge)->Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    return reading->swap_headroom_bytes;
  };
  EXPECT_EQ(swap_headroom(), 1024 * kMiB) << "the kernel does not account for swap";
  // 300 of 512 MiB in use, nothing swapped: 212 of what is left of both go to memory.
  tree_.Write(inner + "/memory.memsw.limit_in_bytes", std::to_string(812 * kMiB));
  tree_.Write(inner + "/memory.memsw.usage_in_bytes", std::to_string(300 * kMiB));
  EXPECT_EQ(swap_headroom(), 300 * kMiB);
  tree_.Write(inner + "/memory.memsw.limit_in_bytes", std::to_string(512 * kMiB));
  EXPECT_EQ(swap_headroom(), 0U);
}

TEST_F(Version1GaugeTest, FollowsALimitThatChanges) {
  auto gauge = MemoryGauge::Open(tree_.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  SetGroup("/outer/inner", 9223372036854771712U, 300 * kMiB, 0);
  auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes, 4096 * kMiB);
  EXPECT_DOUBLE_EQ(reading->used_percent(), 25);
  EXPECT_EQ((*gauge)->limit_source(), "machine");
  SetGroup("/outer", 400 * kMiB, 300 * kMiB, 0);
  reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_DOUBLE_EQ(reading->used_percent(), 75);
  EXPECT_EQ((*gauge)->limit_source(), "/outer");
}

TEST_F(Version1GaugeTest, TheSmallestLimitHoldsAndTheTightestRoomIsTheHeadroom) {
  SetGroup("/outer", 1024 * kMiB, 1000 * kMiB, 0);
  auto gauge = MemoryGauge::Open(tree_.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes, 512 * kMiB);
  EXPECT_EQ(reading->available_bytes, 256 * kMiB);
  EXPECT_EQ(reading->headroom_bytes, 24 * kMiB);
}

TEST_F(Version1GaugeTest, UsageAboveALoweredLimitLeavesNothing) {
  SetGroup("/outer/inner", 100 * kMiB, 300 * kMiB, 0);
  auto gauge = MemoryGauge::Open(tree_.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->available_bytes, 0U);
  EXPECT_DOUBLE_EQ(reading->used_percent(), 100);
}

TEST(MemoryGaugeTest, Version2) {
  FakeTree tree;
  tree.Write("proc/meminfo", kMemInfo);
  tree.Write("proc/self/cgroup", "0::/slice/run\n");
  tree.Write("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.Write("sys/fs/cgroup/cgroup.controllers", "memory\n");
  tree.Write("sys/fs/cgroup/slice/memory.max", "1073741824\n");
  tree.Write("sys/fs/cgroup/slice/memory.current", "536870912\n");
  tree.Write("sys/fs/cgroup/slice/memory.stat", "anon 5\ninactive_file 268435456\n");
  tree.Write("sys/fs/cgroup/slice/run/memory.max", "max\n");
  tree.Write("sys/fs/cgroup/slice/run/memory.current", "4096\n");
  tree.Write("sys/fs/cgroup/slice/run/memory.stat", "");
  auto gauge = MemoryGauge::Open(tree.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes, 1024 * kMiB);
  EXPECT_EQ(reading->used_bytes(), 256 * kMiB);
  EXPECT_EQ((*gauge)->limit_source(), "/slice");
}

TEST(MemoryGaugeTest, WithoutCgroupsTheMachineIsTheLimit) {
  FakeTree tree;
  tree.Write("proc/meminfo", kMemInfo);
  auto gauge = MemoryGauge::Open(tree.root());
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes, 4096 * kMiB);
  EXPECT_EQ(reading->available_bytes, 3072 * kMiB);
  EXPECT_EQ(reading->headroom_bytes, 3072 * kMiB);
  EXPECT_EQ((*gauge)->limit_source(), "machine");
}

TEST(MemoryGaugeTest, RefusesAMissingOrSenselessMemInfo) {
  FakeTree tree;
  EXPECT_EQ(MemoryGauge::Open(tree.root()).status().code(), absl::StatusCode::kNotFound);
  tree.Write("proc/meminfo", "MemTotal: 5 kB\n");
  EXPECT_EQ(MemoryGauge::Open(tree.root()).status().code(), absl::StatusCode::kInvalidArgument);
  tree.Write("proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 0 kB\n");
  EXPECT_EQ(MemoryGauge::Open(tree.root()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MemoryGaugeTest, ReadsThisMachine) {
  auto gauge = MemoryGauge::Open();
  ASSERT_TRUE(gauge.ok()) << gauge.status();
  const auto reading = (*gauge)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_GT(reading->limit_bytes, 64 * kMiB);
  EXPECT_GT(reading->used_percent(), 0);
  EXPECT_LT(reading->used_percent(), 100);
}

TEST(CountHeldFileBytesTest, OnTheMachineAllOfThemCount) {
  os::MemoryReading reading{.limit_bytes = 4096 * kMiB, .available_bytes = 3000 * kMiB, .headroom_bytes = 2000 * kMiB};
  reading.file_bytes = 1000 * kMiB;
  reading.available_file_bytes = 1000 * kMiB;
  const os::MemoryReading counted = CountHeldFileBytes(reading, 600 * kMiB);
  EXPECT_EQ(counted.used_bytes(), (1096 + 600) * kMiB);
  EXPECT_EQ(counted.headroom_bytes, 1400 * kMiB);
}

TEST(CountHeldFileBytesTest, InACgroupThoseThatWereNotCountedAlready) {
  os::MemoryReading reading{.limit_bytes = 1024 * kMiB, .available_bytes = 800 * kMiB, .headroom_bytes = 800 * kMiB};
  reading.file_bytes = 400 * kMiB;
  reading.available_file_bytes = 100 * kMiB;  // the rest is active, and so in use
  EXPECT_EQ(CountHeldFileBytes(reading, 200 * kMiB).available_bytes, 750 * kMiB);
}

TEST(CountHeldFileBytesTest, NeverMoreThanThereIs) {
  os::MemoryReading reading{.limit_bytes = 1024 * kMiB, .available_bytes = 50 * kMiB, .headroom_bytes = 10 * kMiB};
  EXPECT_EQ(CountHeldFileBytes(reading, 500 * kMiB).available_bytes, 50 * kMiB) << "no file pages known";
  reading.file_bytes = 100 * kMiB;
  reading.available_file_bytes = 100 * kMiB;
  const os::MemoryReading counted = CountHeldFileBytes(reading, 500 * kMiB);
  EXPECT_EQ(counted.available_bytes, 0U);
  EXPECT_EQ(counted.headroom_bytes, 0U);
}

}  // namespace
}  // namespace ballast::os
