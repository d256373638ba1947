#include "worker/agent/observer_meter.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

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

TEST(ObserverMeterTest, CountsFromItsOwnBeginning) {
  const std::filesystem::path root = std::filesystem::path(testing::TempDir()) / "ballast_observer_meter_test";
  std::filesystem::create_directories(root / "proc/self");
  ASSERT_TRUE(base::WriteFileAtomically(root / "proc/self/io", "read_bytes: 5\nwrite_bytes: 4096\n").ok());
  const ObserverMeter meter(root.string());
  ASSERT_TRUE(base::WriteFileAtomically(root / "proc/self/io", "read_bytes: 5\nwrite_bytes: 12288\n").ok());
  ASSERT_TRUE(base::WriteFileAtomically(root / "proc/self/smaps_rollup",
                                        "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:   900 kB\nPss:   700 kB\n")
                  .ok());
  EXPECT_EQ(meter.Cost().written_bytes(), 8192U);
  EXPECT_EQ(meter.Cost().pss_bytes(), 700U * 1024);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace ballast::agent
