#include "worker/telemetry/sampler.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}  // namespace

// Not inlined: optimised, g++ would see a free() of what an operator new returned, and take it for a mistake.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace ballast::telemetry {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using metrics::SampleRow;

// A /proc and /sys of a machine with 1000 MiB, in a directory that goes away with the test.
class SamplerTest : public testing::Test {
 protected:
  SamplerTest() {
    std::string name = testing::TempDir() + "/sampler_test_XXXXXX";
    root_ = ::mkdtemp(name.data());
    Write("proc/meminfo",
          "MemTotal:        1024000 kB\nMemFree:          512000 kB\nMemAvailable:     768000 kB\nCached:           "
          "100 kB\n"
          "Inactive(file):   40 kB\nSwapTotal:        2048 kB\nSwapFree:         1024 kB\nAnonPages:  64 kB\n");
    Write("proc/vmstat", "pgfault 700\npgmajfault 7\npswpin 3\npswpout 4\noom_kill 2\nworkingset_refault_file 11\n");
    Write("proc/pressure/memory",
          "some avg10=1.25 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=999\n");
    Write("proc/loadavg", "0.75 0.50 0.25 1/100 4242\n");
    Write("proc/stat", "cpu  100 10 50 1000 200 5 5 30 0 0\ncpu0 100 10 50 1000 200 5 5 30 0 0\nintr " +
                           std::string(40'000, '1') + "\nctxt 1\n");
    Write("sys/block/zram0/mm_stat", "8192 4096 5000 0 5000 0 0 0 0\n");
    Write("proc/self/statm", "1000 250 100 1 0 500 0\n");
    Write("proc/self/cgroup", "2:memory:/box\n0::/\n");
    Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    WriteCgroup("memory.limit_in_bytes", "524288000\n");
    WriteCgroup("memory.usage_in_bytes", "262144000\n");
    WriteCgroup("memory.stat", "total_inactive_file 131072000\n");
    WriteCgroup("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    WriteCgroup("memory.failcnt", "3\n");
    WriteCgroup("memory.memsw.failcnt", "4\n");
  }
  ~SamplerTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, std::string_view content) {
    const std::filesystem::path file = std::filesystem::path(root_) / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }
  void WriteCgroup(const std::string& name, std::string_view content) {
    Write("sys/fs/cgroup/memory/box/" + name, content);
  }

  void WriteProcess() {
    Write("proc/77/stat",
          "77 (ballast) worker) D 1 77 77 0 -1 4194304 900 0 8 0 150 50 0 0 20 0 3 0 100 4096000 2560 "
          "18446744073709551615 "
          "0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
    Write(
        "proc/77/status",
        "Name:\tx\nVmRSS:\t   10240 kB\nRssAnon:\t 8192 kB\nRssFile:\t 2048 kB\nRssShmem:\t 0 kB\nVmSwap:\t 512 kB\n");
    Write("proc/77/io", "rchar: 1\nwchar: 1\nread_bytes: 4096\nwrite_bytes: 0\n");
  }

  std::string root_;
};

std::int64_t At(const SampleRow& row, MetricId id) {
  return row[IndexOf(id)];
}

TEST_F(SamplerTest, ReadsTheMachineAndTheLimitThatHolds) {
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SampleRow row;
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kMemTotalBytes), 1024000LL * 1024);
  EXPECT_EQ(At(row, MetricId::kMemInactiveFileBytes), 40 * 1024);
  EXPECT_EQ(At(row, MetricId::kMemLimitBytes), 524288000);
  EXPECT_EQ(At(row, MetricId::kMemLimitAvailableBytes), 524288000 - (262144000 - 131072000));
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 25'000);  // 25 %, in thousandths
  EXPECT_EQ(At(row, MetricId::kVmPgmajfaultTotal), 7);
  EXPECT_EQ(At(row, MetricId::kVmOomKillTotal), 2);
  EXPECT_EQ(At(row, MetricId::kPsiMemorySomeAvg10), 125);
  EXPECT_EQ(At(row, MetricId::kPsiMemoryFullUsTotal), 999);
  EXPECT_EQ(At(row, MetricId::kLoadAvg1), 75);
  EXPECT_EQ(At(row, MetricId::kCpuBusyMsTotal), 200 * 1000 / ::sysconf(_SC_CLK_TCK));
  EXPECT_EQ(At(row, MetricId::kCpuIdleMsTotal), 1200 * 1000 / ::sysconf(_SC_CLK_TCK));
  EXPECT_EQ(At(row, MetricId::kZramDataBytes), 8192);
  EXPECT_EQ(At(row, MetricId::kZramCompressedBytes), 4096);
  EXPECT_EQ(At(row, MetricId::kAgentRssBytes), 250 * ::sysconf(_SC_PAGESIZE));
  EXPECT_EQ(At(row, MetricId::kCgroupUsageBytes), 262144000);
  EXPECT_EQ(At(row, MetricId::kCgroupOomKillTotal), 5);
  EXPECT_EQ(At(row, MetricId::kCgroupLimitHitsTotal), 7);
}

TEST_F(SamplerTest, TheRunnersCgroupIsCountedAndTheLimitAboveIt) {
  Write("sys/fs/cgroup/memory/box/run/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/box/run/memory.usage_in_bytes", "1000\n");
  Write("sys/fs/cgroup/memory/box/run/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  Write("sys/fs/cgroup/memory/box/run/memory.failcnt", "0\n");
  os::CgroupLocation runner = os::LocateCgroups(root_).value();
  runner.memory_path += "/run";
  runner.memory_directories.insert(runner.memory_directories.begin(), root_ + "/sys/fs/cgroup/memory/box/run");
  auto sampler = Sampler::Open(root_, runner);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SampleRow row;
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kCgroupUsageBytes), 1000);
  EXPECT_EQ(At(row, MetricId::kCgroupOomKillTotal), 1);
  EXPECT_EQ(At(row, MetricId::kCgroupLimitHitsTotal), 7);
  EXPECT_EQ(At(row, MetricId::kMemLimitBytes), 524288000);
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 25'000);
}

TEST_F(SamplerTest, LeavesOutWhatTheKernelDoesNotHave) {
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SampleRow row;
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kPsiIoSomeAvg10), metrics::kAbsent);
  EXPECT_EQ(At(row, MetricId::kVmPgscanDirectTotal), metrics::kAbsent);
  EXPECT_EQ(At(row, MetricId::kRunnerResidentBytes), metrics::kAbsent);
  EXPECT_EQ(At(row, MetricId::kRunnerHeldBytes), metrics::kAbsent);
  Write("proc/stat", "");
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kCpuBusyMsTotal), metrics::kAbsent);
}

TEST_F(SamplerTest, FollowsChangesThroughOpenDescriptors) {
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SampleRow row;
  (*sampler)->Sample(&row);
  WriteCgroup("memory.usage_in_bytes", "393216000\n");
  Write("proc/vmstat", "oom_kill 3\n");
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 50'000);
  EXPECT_EQ(At(row, MetricId::kVmOomKillTotal), 3);
  EXPECT_EQ(At(row, MetricId::kVmPgfaultTotal), metrics::kAbsent);
}

TEST_F(SamplerTest, WatchesAProcessUntilItIsForgotten) {
  WriteProcess();
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  (*sampler)->WatchProcess(77);
  SampleRow row;
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kRunnerResidentBytes), 10 << 20);
  EXPECT_EQ(At(row, MetricId::kRunnerAnonBytes), 8 << 20);
  EXPECT_EQ(At(row, MetricId::kRunnerSwapBytes), 512 << 10);
  EXPECT_EQ(At(row, MetricId::kRunnerMinorFaultsTotal), 900);
  EXPECT_EQ(At(row, MetricId::kRunnerMajorFaultsTotal), 8);
  EXPECT_EQ(At(row, MetricId::kRunnerThreadsCount), 3);
  EXPECT_EQ(At(row, MetricId::kRunnerStateCode), 'D');
  EXPECT_EQ(At(row, MetricId::kRunnerCpuMsTotal), 200 * 1000 / ::sysconf(_SC_CLK_TCK));
  EXPECT_EQ(At(row, MetricId::kRunnerReadBytesTotal), 4096);
  (*sampler)->ForgetProcess();
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kRunnerResidentBytes), metrics::kAbsent);
}

TEST_F(SamplerTest, TheCgroupOfALoadHoldsMoreThanItsProcesses) {
  Write("sys/fs/cgroup/memory/box/load/memory.stat",
        "cache 1\nrss 2\nshmem 3\ntotal_cache 900\ntotal_rss 4096\ntotal_shmem 800\ntotal_swap 50\n");
  Write("sys/fs/cgroup/unified/load/memory.stat", "anon 4096\nfile 900\nshmem 700\n");
  Write("sys/fs/cgroup/unified/load/memory.swap.current", "60\n");
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SampleRow row;
  os::CgroupLocation load;
  load.memory_version = 1;
  load.memory_directories = {root_ + "/sys/fs/cgroup/memory/box/load"};
  (*sampler)->WatchLoadCgroup(&load);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupMemoryBytes), 4896);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupSwapBytes), 50);
  load.memory_version = 2;
  load.memory_directories = {root_ + "/sys/fs/cgroup/unified/load"};
  (*sampler)->WatchLoadCgroup(&load);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupMemoryBytes), 4796);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupSwapBytes), 60);
  (*sampler)->WatchLoadCgroup(nullptr);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupMemoryBytes), metrics::kAbsent);
  EXPECT_EQ(At(row, MetricId::kLoadCgroupSwapBytes), metrics::kAbsent);
}

TEST_F(SamplerTest, FileCacheThatIsHeldIsInUse) {
  WriteProcess();
  auto sampler = Sampler::Open(root_);
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  (*sampler)->WatchProcess(77);
  SampleRow row;
  (*sampler)->CountFilePages(1 << 20);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 25'200);
  EXPECT_EQ(At(row, MetricId::kMemLimitAvailableBytes), 524288000 - (262144000 - 131072000)) << "the kernel's figure";
  (*sampler)->CountFilePages(100 << 20);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 25'400) << "what is held and not resident was dropped";
  (*sampler)->CountFilePages(0);
  (*sampler)->Sample(&row);
  EXPECT_EQ(At(row, MetricId::kMemUsedPercent), 25'000);
}

TEST(SamplerOnThisMachineTest, ReadsAndDoesNotAllocate) {
  auto sampler = Sampler::Open();
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  (*sampler)->WatchProcess(::getpid());
  SampleRow row;
  (*sampler)->Sample(&row);
  EXPECT_GT(At(row, MetricId::kMemTotalBytes), 0);
  EXPECT_GT(At(row, MetricId::kMemUsedPercent), 0);
  EXPECT_EQ(At(row, MetricId::kRunnerStateCode), 'R');
  EXPECT_GT(At(row, MetricId::kRunnerResidentBytes), 0);
  const std::uint64_t before = allocations;
  for (int i = 0; i < 100; ++i) (*sampler)->Sample(&row);
  EXPECT_EQ(allocations - before, 0U);
}

TEST(SamplerOnThisMachineTest, NeedsMemInfo) {
  const auto sampler = Sampler::Open("/nonexistent");
  EXPECT_EQ(sampler.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(sampler.status().message()), testing::HasSubstr("/nonexistent/proc/meminfo"));
}

}  // namespace
}  // namespace ballast::telemetry
