#include "common/os/procfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace ballast::os {
namespace {

using ::testing::Eq;
using ::testing::Optional;

TEST(MemInfoTest, ReadsKilobytesAsBytes) {
  const MemInfo info = ParseMemInfo(
      "MemTotal:        4021024 kB\nMemFree:          123 kB\nMemAvailable:    2000000 kB\nActive(anon):   10 kB\n"
      "SwapTotal:             0 kB\nHugePages_Total:       7\n");
  EXPECT_THAT(info.total, Optional(4021024U * 1024U));
  EXPECT_THAT(info.free, Optional(123U * 1024U));
  EXPECT_THAT(info.available, Optional(2000000U * 1024U));
  EXPECT_THAT(info.active_anon, Optional(10U * 1024U));
  EXPECT_THAT(info.swap_total, Optional(0U));
  EXPECT_THAT(info.swap_free, Eq(std::nullopt));
}

TEST(MemInfoTest, LeavesOutWhatMakesNoSense) {
  const MemInfo info = ParseMemInfo(
      "MemTotal: many kB\nMemFree: -5 kB\nMemAvailable: 5 MB\nCached: 18446744073709551615 kB\nBuffers:\nDirty: 12x "
      "kB\n\n:\n"
      "Shmem: 99999999999999999999999 kB\nSlab 5");
  EXPECT_FALSE(info.total.has_value());
  EXPECT_FALSE(info.free.has_value());
  EXPECT_FALSE(info.available.has_value());
  EXPECT_FALSE(info.cached.has_value());
  EXPECT_FALSE(info.buffers.has_value());
  EXPECT_FALSE(info.dirty.has_value());
  EXPECT_FALSE(info.shmem.has_value());
}

TEST(VmStatTest, AddsUpZonesAndKeepsSimilarNamesApart) {
  const VmStat stat = ParseVmStat(
      "pswpin 3\npswpout 4\npgmajfault 5\nallocstall_dma 1\nallocstall_normal 2\nallocstall_movable 4\n"
      "pgscan_direct 10\npgscan_direct_throttle 99\nworkingset_refault_anon 6\nworkingset_refault_file 7\noom_kill "
      "2\n");
  EXPECT_THAT(stat.swap_in_pages, Optional(3U));
  EXPECT_THAT(stat.swap_out_pages, Optional(4U));
  EXPECT_THAT(stat.major_faults, Optional(5U));
  EXPECT_THAT(stat.allocation_stalls, Optional(7U));
  EXPECT_THAT(stat.scan_direct_pages, Optional(10U));
  EXPECT_THAT(stat.throttled_reclaims, Optional(99U));
  EXPECT_THAT(stat.refault_anon_pages, Optional(6U));
  EXPECT_THAT(stat.refault_file_pages, Optional(7U));
  EXPECT_THAT(stat.oom_kills, Optional(2U));
}

TEST(VmStatTest, SumsDoNotOverflow) {
  const VmStat stat = ParseVmStat("allocstall_dma 18446744073709551615\nallocstall_normal 18446744073709551615\n");
  EXPECT_THAT(stat.allocation_stalls, Optional(18446744073709551615U));
}

TEST(VmStatTest, ReadsTheRefaultsOfOlderKernels) {
  EXPECT_THAT(ParseVmStat("workingset_refault 12\nallocstall 9\n").refault_file_pages, Optional(12U));
  EXPECT_THAT(ParseVmStat("workingset_refault 12\nallocstall 9\n").allocation_stalls, Optional(9U));
}

TEST(PressureTest, ReadsBothLines) {
  const Pressure pressure = ParsePressure(
      "some avg10=12.34 avg60=5.00 avg300=0.01 total=123456789\nfull avg10=1.50 avg60=0.00 avg300=0.00 total=42\n");
  ASSERT_TRUE(pressure.some.has_value());
  EXPECT_DOUBLE_EQ(pressure.some->avg10_percent, 12.34);
  EXPECT_DOUBLE_EQ(pressure.some->avg60_percent, 5);
  EXPECT_DOUBLE_EQ(pressure.some->avg300_percent, 0.01);
  EXPECT_EQ(pressure.some->total_us, 123456789U);
  ASSERT_TRUE(pressure.full.has_value());
  EXPECT_EQ(pressure.full->total_us, 42U);
}

TEST(PressureTest, LeavesOutIncompleteAndBrokenLines) {
  EXPECT_FALSE(ParsePressure("some avg10=1 avg60=2 avg300=3\n").some.has_value());
  EXPECT_FALSE(ParsePressure("some avg10=nan avg60=2 avg300=3 total=1\n").some.has_value());
  EXPECT_FALSE(ParsePressure("some avg10=inf avg60=2 avg300=3 total=1\n").some.has_value());
  EXPECT_FALSE(ParsePressure("some avg10=1 avg60=2 avg300=3 total=-1\n").some.has_value());
  EXPECT_TRUE(ParsePressure("some avg10=1 avg60=2 avg300=3 avg900=9 total=1\n").some.has_value());
  EXPECT_FALSE(ParsePressure("").full.has_value());
}

TEST(SystemStatTest, ReadsTicksAndCounts) {
  const SystemStat stat = ParseSystemStat(
      "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3 4\nctxt 999\nbtime 1700000000\nprocs_running 2\nprocs_blocked 3\n");
  EXPECT_THAT(stat.user_ticks, Optional(120U));
  EXPECT_THAT(stat.system_ticks, Optional(30U));
  EXPECT_THAT(stat.idle_ticks, Optional(4000U));
  EXPECT_THAT(stat.iowait_ticks, Optional(50U));
  EXPECT_THAT(stat.irq_ticks, Optional(13U));
  EXPECT_THAT(stat.steal_ticks, Optional(8U));
  EXPECT_THAT(stat.context_switches, Optional(999U));
  EXPECT_THAT(stat.boot_time_seconds, Optional(1700000000U));
  EXPECT_THAT(stat.blocked_processes, Optional(3U));
}

TEST(LoadAverageTest, ReadsThreeFigures) {
  const auto load = ParseLoadAverage("0.52 1.25 2.00 1/345 6789\n");
  ASSERT_TRUE(load.has_value());
  EXPECT_DOUBLE_EQ(load->one_minute, 0.52);
  EXPECT_DOUBLE_EQ(load->fifteen_minutes, 2.0);
  EXPECT_FALSE(ParseLoadAverage("0.52 1.25").has_value());
}

constexpr const char kStatTail[] =
    " S 1 6403 3060 0 -1 4194304 1234 0 56 0 78 90 0 0 20 0 5 0 137085 3133440 410 18446744073709551615 1 2 3 4 5 "
    "0 0 "
    "0 0 0 0 0 17 0 0 0 11 0 0 0 0 0 0 0 0 0\n";

TEST(ProcessStatTest, ReadsNumberedFields) {
  const auto stat = ParseProcessStat(std::string("6408 (cat)") + kStatTail);
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->pid, 6408);
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent_pid, 1);
  EXPECT_EQ(stat->process_group, 6403);
  EXPECT_EQ(stat->minor_faults, 1234U);
  EXPECT_EQ(stat->major_faults, 56U);
  EXPECT_EQ(stat->user_ticks, 78U);
  EXPECT_EQ(stat->system_ticks, 90U);
  EXPECT_EQ(stat->threads, 5U);
  EXPECT_EQ(stat->start_ticks, 137085U);
  EXPECT_EQ(stat->virtual_bytes, 3133440U);
  EXPECT_EQ(stat->resident_pages, 410U);
  EXPECT_THAT(stat->block_io_delay_ticks, Optional(11U));
}

TEST(ProcessStatTest, TheNameMayHoldAnything) {
  const auto stat = ParseProcessStat(std::string("7 (a) S 99 (b\n)") + kStatTail);
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->pid, 7);
  EXPECT_EQ(stat->parent_pid, 1);
  EXPECT_EQ(stat->resident_pages, 410U);
}

TEST(ProcessStatTest, RefusesWhatIsCutOffOrBroken) {
  EXPECT_FALSE(ParseProcessStat("").has_value());
  EXPECT_FALSE(ParseProcessStat("12").has_value());
  EXPECT_FALSE(ParseProcessStat(") (").has_value());
  EXPECT_FALSE(ParseProcessStat("12 (x) S 1 2 3").has_value());
  EXPECT_FALSE(ParseProcessStat("12 (x) SS 1 2 3").has_value());
  const auto whole_up_to_resident =
      ParseProcessStat("12 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21\n");
  ASSERT_TRUE(whole_up_to_resident.has_value());
  EXPECT_EQ(whole_up_to_resident->resident_pages, 21U);
  EXPECT_FALSE(whole_up_to_resident->block_io_delay_ticks.has_value());
}

TEST(ProcessStatmTest, ReadsPages) {
  const auto statm = ParseProcessStatm("765 438 410 5 0 123 0\n");
  ASSERT_TRUE(statm.has_value());
  EXPECT_EQ(statm->size_pages, 765U);
  EXPECT_EQ(statm->resident_pages, 438U);
  EXPECT_EQ(statm->shared_pages, 410U);
  EXPECT_FALSE(ParseProcessStatm("765 x 410").has_value());
  EXPECT_FALSE(ParseProcessStatm("765 438").has_value());
}

TEST(ProcessStatusTest, ReadsSizesAndCounts) {
  const ProcessStatus status = ParseProcessStatus(
      "Name:\tVmRSS: 5 kB\nVmHWM:\t    1760 kB\nVmRSS:\t    1700 kB\nRssAnon:\t     116 kB\nVmSwap:\t       8 "
      "kB\nThreads:\t3\n"
      "CapEff:\t000001fffeffffff\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t18\n");
  EXPECT_THAT(status.resident_peak, Optional(1760U * 1024U));
  EXPECT_THAT(status.resident, Optional(1700U * 1024U));
  EXPECT_THAT(status.resident_anon, Optional(116U * 1024U));
  EXPECT_THAT(status.swapped, Optional(8U * 1024U));
  EXPECT_THAT(status.threads, Optional(3U));
  EXPECT_THAT(status.effective_capabilities, Optional(0x1fffeffffffU));
  EXPECT_THAT(status.voluntary_switches, Optional(17U));
  EXPECT_THAT(status.involuntary_switches, Optional(18U));
}

TEST(ProcessIoTest, ReadsBytes) {
  const ProcessIo io = ParseProcessIo("rchar: 7296\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n");
  EXPECT_THAT(io.read_bytes, Optional(4096U));
  EXPECT_THAT(io.write_bytes, Optional(8192U));
}

TEST(NumberTest, TakesOneNumberAndNothingElse) {
  EXPECT_THAT(ParseNumber("123\n"), Optional(123U));
  EXPECT_THAT(ParseNumber("18446744073709551615"), Optional(18446744073709551615U));
  EXPECT_FALSE(ParseNumber("18446744073709551616").has_value());
  EXPECT_FALSE(ParseNumber("max\n").has_value());
  EXPECT_FALSE(ParseNumber("-1\n").has_value());
  EXPECT_FALSE(ParseNumber("1 2\n").has_value());
  EXPECT_FALSE(ParseNumber("").has_value());
}

TEST(KeyedNumberTest, FindsTheWholeKey) {
  constexpr const char kText[] = "inactive_file 5\ntotal_inactive_file 7\nempty\noom_kill_disable 0\noom_kill 3\n";
  EXPECT_THAT(FindKeyedNumber(kText, "inactive_file"), Optional(5U));
  EXPECT_THAT(FindKeyedNumber(kText, "total_inactive_file"), Optional(7U));
  EXPECT_THAT(FindKeyedNumber(kText, "oom_kill"), Optional(3U));
  EXPECT_FALSE(FindKeyedNumber(kText, "empty").has_value());
  EXPECT_FALSE(FindKeyedNumber(kText, "file").has_value());
}

// Whatever the bytes are, parsing ends and stays within them (the sanitizers watch).
TEST(ProcfsTest, SurvivesAnyBytes) {
  std::mt19937 random(20240601);
  constexpr const char kAlphabet[] = "MemTotal: 09 kB\n()=.somefulavg10total-xSR\\\t\0";
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 200, ' ');
    for (char& c : text) c = kAlphabet[random() % sizeof kAlphabet];
    (void)ParseMemInfo(text);
    (void)ParseVmStat(text);
    (void)ParsePressure(text);
    (void)ParseSystemStat(text);
    (void)ParseLoadAverage(text);
    EXPECT_FALSE(ParseProcessStat(text).has_value() && text.find('(') == std::string::npos);
    (void)ParseProcessStatm(text);
    (void)ParseProcessStatus(text);
    (void)ParseProcessIo(text);
    (void)FindKeyedNumber(text, "Mem");
  }
}

}  // namespace
}  // namespace ballast::os
