#include "common/os/memory_stall.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

constexpr const char kMemInfo[] = "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 3145728 kB\n";

std::string PressureText(int some_us) {
  return "some avg10=1.50 avg60=0.00 avg300=0.00 total=" + std::to_string(some_us) +
         "\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=7\n";
}

class MemoryStallTest : public ::testing::Test {
 protected:
  MemoryStallTest() {
    tree_.Write("proc/meminfo", kMemInfo);
    tree_.Write("proc/pressure/memory", PressureText(1));
  }
  // The stall of the place that was taken: each has its own.
  std::uint64_t SomeTotal(const std::string& process = "self") {
    auto stall = MemoryStall::Open(tree_.root(), process);
    EXPECT_TRUE(stall.ok()) << stall.status();
    if (!stall.ok()) return 0;
    const auto reading = (*stall)->Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    return reading.ok() ? reading->some.total_us : 0;
  }

  FakeTree tree_;
};

TEST_F(MemoryStallTest, OfTheMachineWhereNoCgroupHasALimit) {
  auto stall = MemoryStall::Open(tree_.root());
  ASSERT_TRUE(stall.ok()) << stall.status();
  tree_.Write("proc/pressure/memory", PressureText(900));
  const auto reading = (*stall)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->some.total_us, 900U);
  EXPECT_DOUBLE_EQ(reading->some.avg10_percent, 1.5);
  EXPECT_EQ(reading->full.total_us, 7U);
  EXPECT_DOUBLE_EQ(reading->full.avg10_percent, 0.25);
}

TEST_F(MemoryStallTest, OfTheGroupWhoseLimitHoldsInVersion2) {
  tree_.Write("proc/77/cgroup", "0::/outer/inner\n");
  tree_.Write("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree_.Write("sys/fs/cgroup/cgroup.controllers", "memory\n");
  tree_.Write("sys/fs/cgroup/outer/memory.max", "1073741824\n");
  tree_.Write("sys/fs/cgroup/outer/memory.pressure", PressureText(20));
  tree_.Write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  tree_.Write("sys/fs/cgroup/outer/inner/memory.pressure", PressureText(30));
  EXPECT_EQ(SomeTotal("77"), 20U);
  tree_.Write("sys/fs/cgroup/outer/inner/memory.max", "536870912\n");
  EXPECT_EQ(SomeTotal("77"), 30U);
}

TEST_F(MemoryStallTest, OfTheGroupInTheUnifiedHierarchyBesideVersion1) {
  tree_.Write("proc/self/cgroup", "4:memory:/limited\n0::/beside\n");
  tree_.Write("proc/self/mountinfo",
              "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
              "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  tree_.Write("sys/fs/cgroup/memory/limited/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(SomeTotal(), 1U) << "there is none, so the machine's is the best that is known";
  tree_.Write("sys/fs/cgroup/unified/beside/memory.pressure", PressureText(40));
  EXPECT_EQ(SomeTotal(), 40U);
}

TEST_F(MemoryStallTest, SaysWhatAKernelWithoutItNeeds) {
  FakeTree tree;
  tree.Write("proc/meminfo", kMemInfo);
  const auto stall = MemoryStall::Open(tree.root());
  EXPECT_EQ(stall.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(stall.status().message()), ::testing::HasSubstr("psi=1"));
}

}  // namespace
}  // namespace ballast::os
