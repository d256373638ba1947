#include "worker/guard/signal_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/worker/guard/fake_device.h"

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kMiB = 1 << 20;
constexpr double kAlways = 0;    // reads /proc/vmstat each time
constexpr double kSeldom = 101;  // no stall is that long

std::uint64_t PagesOfMib() {
  return static_cast<std::uint64_t>(kMiB) / static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

TEST(SignalReaderTest, TurnsCountersIntoSharesAndRates) {
  FakeProc proc;
  const auto reader = SignalReader::Open(proc.root()).value();
  Readings readings = reader->Read(seconds(10), kAlways);
  EXPECT_EQ(readings.available_bytes, 2000U << 20U);
  EXPECT_EQ(readings.limit_bytes, std::uint64_t{4000} << 20U);
  EXPECT_TRUE(readings.has_psi);
  EXPECT_FALSE(readings.psi_full_percent) << "one value is no rate";
  EXPECT_FALSE(readings.swap_in_bytes_per_second);
  proc.SetStalls(500'000, 250'000);
  proc.SetPages(10 * PagesOfMib(), 20 * PagesOfMib());
  readings = reader->Read(seconds(11), kAlways);
  EXPECT_NEAR(readings.psi_some_percent.value(), 50, 0.01);
  EXPECT_NEAR(readings.psi_full_percent.value(), 25, 0.01);
  EXPECT_NEAR(readings.swap_in_bytes_per_second.value(), 10 * kMiB, 1);
  EXPECT_NEAR(readings.refault_bytes_per_second.value(), 20 * kMiB, 1);
}

TEST(SignalReaderTest, ReadsTheLongFileSeldomWhileNothingStalls) {
  FakeProc proc;
  const auto reader = SignalReader::Open(proc.root()).value();
  int rates = 0;
  for (milliseconds time(10'000); time < milliseconds(20'000); time += milliseconds(20)) {
    if (reader->Read(time, kSeldom).refault_bytes_per_second) ++rates;
  }
  EXPECT_NEAR(rates, 20, 2);
}

TEST(SignalReaderTest, WithoutStallsInTheKernelTheRestIsRead) {
  FakeProc proc;
  std::filesystem::remove_all(proc.root() + "/proc/pressure");
  const auto reader = SignalReader::Open(proc.root()).value();
  (void)reader->Read(seconds(10), kSeldom);
  const Readings readings = reader->Read(seconds(11), kSeldom);
  EXPECT_FALSE(readings.has_psi);
  EXPECT_TRUE(readings.refault_bytes_per_second);
  EXPECT_TRUE(reader->machine_pressure_path().empty());
}

// A machine with a version 2 hierarchy, on which this process is in /box/worker.
class SignalReaderInCgroupTest : public ::testing::Test {
 protected:
  static constexpr std::string_view kSome = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n";
  SignalReaderInCgroupTest() {
    const os::FakeTree& tree = proc_.tree();
    tree.Write("proc/self/cgroup", "0::/box/worker\n");
    tree.Write("proc/self/mountinfo", "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    tree.Write("sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree.Write("sys/fs/cgroup/box/memory.current", "1000\n");
    tree.Write("sys/fs/cgroup/box/memory.stat", "inactive_file 0\n");
    tree.Write("sys/fs/cgroup/box/worker/memory.max", "max\n");
    tree.Write("sys/fs/cgroup/box/worker/memory.current", "1000\n");
    SetStalls(0);
  }
  void SetLimit(std::string_view limit) const { proc_.tree().Write("sys/fs/cgroup/box/memory.max", limit); }
  void SetStalls(std::uint64_t us) const {
    proc_.tree().Write(
        "sys/fs/cgroup/box/memory.pressure",
        fmt::format("some avg10=0 avg60=0 avg300=0 total={}\nfull avg10=0 avg60=0 avg300=0 total={}\n", us, us));
  }
  [[nodiscard]] double StallOf(const std::unique_ptr<SignalReader>& reader) const {
    (void)reader->Read(seconds(10), kSeldom);
    SetStalls(300'000);
    return reader->Read(seconds(11), kSeldom).psi_full_percent.value();
  }
  // Of the cgroup and its descendants, in MiB.
  void SetCgroupPages(std::uint64_t anon_mib, std::uint64_t file_mib) const {
    proc_.tree().Write("sys/fs/cgroup/box/memory.stat",
                       fmt::format("inactive_file 0\nworkingset_refault_anon {}\nworkingset_refault_file {}\n",
                                   anon_mib * PagesOfMib(), file_mib * PagesOfMib()));
  }
  void SetMachinePages(std::uint64_t swapped_in_mib, std::uint64_t refaulted_mib) {
    proc_.SetPages(swapped_in_mib * PagesOfMib(), refaulted_mib * PagesOfMib());
  }
  FakeProc proc_;
};

TEST_F(SignalReaderInCgroupTest, TheStallsOfTheCgroupWhoseLimitHoldsCount) {
  SetLimit("1073741824\n");
  const auto reader = SignalReader::Open(proc_.root()).value();
  EXPECT_TRUE(reader->cgroup_pressure_path().ends_with("/box/memory.pressure"));
  EXPECT_NEAR(StallOf(reader), 30, 0.01);
}

TEST_F(SignalReaderInCgroupTest, ACgroupWhoseLimitDoesNotHoldIsNotTheDevice) {
  SetLimit("1099511627776\n");
  const auto reader = SignalReader::Open(proc_.root()).value();
  EXPECT_NEAR(StallOf(reader), 0, 0.01);
}

TEST_F(SignalReaderInCgroupTest, WhatOthersSwapElsewhereIsNotTheLoads) {
  SetLimit("1073741824\n");
  SetCgroupPages(0, 0);
  const auto reader = SignalReader::Open(proc_.root()).value();
  (void)reader->Read(seconds(10), kAlways);
  SetMachinePages(500, 900);
  SetCgroupPages(4, 7);
  const Readings readings = reader->Read(seconds(11), kAlways);
  EXPECT_NEAR(readings.swap_in_bytes_per_second.value(), 4 * kMiB, 1)
      << "a page that comes back from swap is anonymous";
  EXPECT_NEAR(readings.refault_bytes_per_second.value(), 11 * kMiB, 1);
}

TEST_F(SignalReaderInCgroupTest, WhereTheMachineStallsMoreItsRatesCount) {
  SetLimit("1073741824\n");
  SetCgroupPages(0, 0);
  const auto reader = SignalReader::Open(proc_.root()).value();
  (void)reader->Read(seconds(10), kAlways);
  SetMachinePages(500, 900);
  SetCgroupPages(4, 7);
  SetStalls(100'000);
  proc_.SetStalls(400'000, 400'000);
  const Readings readings = reader->Read(seconds(11), kAlways);
  EXPECT_NEAR(readings.psi_full_percent.value(), 40, 0.01);
  EXPECT_NEAR(readings.swap_in_bytes_per_second.value(), 500 * kMiB, 1);
  EXPECT_NEAR(readings.refault_bytes_per_second.value(), 900 * kMiB, 1);
}

TEST_F(SignalReaderInCgroupTest, AKernelThatDoesNotCountForCgroupsCountsForTheMachine) {
  SetLimit("1073741824\n");  // memory.stat has no refaults
  const auto reader = SignalReader::Open(proc_.root()).value();
  (void)reader->Read(seconds(10), kAlways);
  SetMachinePages(5, 9);
  EXPECT_NEAR(reader->Read(seconds(11), kAlways).refault_bytes_per_second.value(), 9 * kMiB, 1);
}

TEST_F(SignalReaderInCgroupTest, OfVersion1TheTotalsOfAllDescendantsCount) {
  const os::FakeTree& tree = proc_.tree();
  tree.Write("proc/self/cgroup", "4:memory:/box\n");
  tree.Write("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  tree.Write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1073741824\n");
  tree.Write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1000\n");
  const auto set_pages = [&tree](std::uint64_t mib) {
    tree.Write(
        "sys/fs/cgroup/memory/box/memory.stat",
        fmt::format("workingset_refault_file 0\ntotal_workingset_refault_anon 0\ntotal_workingset_refault_file {}\n",
                    mib * PagesOfMib()));
  };
  set_pages(0);
  const auto reader = SignalReader::Open(proc_.root()).value();
  (void)reader->Read(seconds(10), kAlways);
  set_pages(3);
  SetMachinePages(0, 900);
  EXPECT_NEAR(reader->Read(seconds(11), kAlways).refault_bytes_per_second.value(), 3 * kMiB, 1);
}

// A model that is mapped fills a cgroup with pages that are in use, and can be dropped all the same.
TEST_F(SignalReaderInCgroupTest, PagesOfFilesAreAvailableAlsoWhileTheyAreInUse) {
  SetLimit("1000000\n");
  proc_.tree().Write("sys/fs/cgroup/box/memory.current", "990000\n");
  proc_.tree().Write("sys/fs/cgroup/box/memory.stat", "active_file 600000\ninactive_file 100000\n");
  const auto reader = SignalReader::Open(proc_.root()).value();
  EXPECT_EQ(reader->Read(seconds(10), kSeldom).available_bytes, 710000U);
}

}  // namespace
}  // namespace ballast::guard
