#include "worker/agent/observer_meter.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "common/base/child_process.h"
#include "common/base/clock.h"
#include "common/base/file.h"

namespace ballast::agent {
namespace {

TEST(ObserverMeterTest, MeasuresThisProcess) {
  const ObserverMeter meter;
  // Faults: fresh pages that are written.
  constexpr std::size_t kPages = 500;
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const pages = ::mmap(nullptr, kPages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  ::madvise(pages, kPages * page_bytes, MADV_NOHUGEPAGE);
  std::memset(pages, 1, kPages * page_bytes);
  // Processor time: until the clock that is looked at has moved.
  volatile std::uint64_t work = 0;
  while (base::ToSeconds(base::FromProto(meter.Cost().cpu_time())) < 0.02) work = work + 1;

  const v1::ObserverCost cost = meter.Cost();
  EXPECT_GE(cost.minor_faults(), kPages);
  EXPECT_GE(base::ToSeconds(base::FromProto(cost.cpu_time())), 0.02);
  EXPECT_GT(cost.pss_bytes(), kPages * page_bytes);
  ::munmap(pages, kPages * page_bytes);
}

// The load is a child, and its writing is not what observing costs.
TEST(ObserverMeterTest, CountsWhatThisProcessWritesAndNotItsChildren) {
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "ballast_observer_meter_test";
  std::filesystem::create_directories(directory);
  struct statfs disk {};
  ASSERT_EQ(::statfs(directory.c_str(), &disk), 0);
  constexpr long kTmpfs = 0x01021994;
  if (disk.f_type == kTmpfs) GTEST_SKIP() << "needs a disk below " << testing::TempDir();
  const ObserverMeter meter;
  ASSERT_TRUE(base::WriteFileAtomically(directory / "own", std::string(256U << 10U, 'x')).ok());
  base::ChildOptions options;
  options.argv = {"/bin/sh", "-c",
                  fmt::format("head -c 8388608 /dev/zero > '{}'; sync '{}'", (directory / "child").string(),
                              (directory / "child").string())};
  auto child = base::ChildProcess::Start(options);
  ASSERT_TRUE(child.ok()) << child.status();
  ASSERT_TRUE(child->Wait().has_value());
  const v1::ObserverCost cost = meter.Cost();
  EXPECT_GE(cost.written_bytes(), 256U << 10U);
  EXPECT_LT(cost.written_bytes(), 4U << 20U);
  std::filesystem::remove_all(directory);
}

TEST(ObserverMeterTest, TheSizeIsTheKernelsFigure) {
  const std::filesystem::path root = std::filesystem::path(testing::TempDir()) / "ballast_observer_meter_root";
  std::filesystem::create_directories(root / "proc/self");
  ASSERT_TRUE(base::WriteFileAtomically(root / "proc/self/smaps_rollup",
                                        "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:   900 kB\nPss:   700 kB\n")
                  .ok());
  EXPECT_EQ(ObserverMeter(root.string()).Cost().pss_bytes(), 700U * 1024);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace ballast::agent
