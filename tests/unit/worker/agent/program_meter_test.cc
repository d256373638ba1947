#include "worker/agent/program_meter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kMib = 1U << 20U;

// A process and its cgroup, laid out in a directory.
class ProgramMeterTest : public testing::Test {
 protected:
  ProgramMeterTest() {
    std::string name = testing::TempDir() + "/ballast_meter_test_XXXXXX";
    root_ = ::mkdtemp(name.data());
    group_.memory_directories = {(root_ / "group").string()};
  }
  ~ProgramMeterTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& content) {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << content;
  }
  // `minor` and `major` faults of a process of the group.
  void WriteProcess(int pid, int group, int minor, int major, int resident_kib) {
    const std::string directory = "proc/" + std::to_string(pid);
    Write(directory + "/stat", std::to_string(pid) + " (x) R 1 " + std::to_string(group) + " 1 0 -1 0 " +
                                   std::to_string(minor) + " 0 " + std::to_string(major) +
                                   " 0 100 50 0 0 20 0 1 0 1 1 1\n");
    Write(directory + "/status",
          "VmHWM: " + std::to_string(resident_kib) + " kB\nVmRSS: " + std::to_string(resident_kib) +
              " kB\nRssAnon: " + std::to_string(resident_kib / 2) + " kB\nRssFile: 8 kB\nVmSwap: 4 kB\n");
    Write(directory + "/io", "read_bytes: 4096\nwrite_bytes: 8192\n");
  }
  static v1::ProgramBegin Taken() {
    v1::ProgramBegin taken;
    taken.set_peak_resident_bytes(8 * kMib);
    taken.set_minor_faults(100);
    taken.set_major_faults(1);
    taken.mutable_user_cpu_time()->set_nanos(10'000'000);
    return taken;
  }

  std::filesystem::path root_;
  os::CgroupLocation group_;
};

TEST(ParseIoStatTest, AddsDevicesUp) {
  const IoStat stat = ParseIoStat(
      "8:0 rbytes=4096 wbytes=100 rios=1 wios=2 dbytes=7 dios=0\n254:16 rbytes=1000 wbytes=0 rios=1 wios=0\n");
  EXPECT_EQ(stat.read_bytes, 5096U);
  EXPECT_EQ(stat.write_bytes, 100U);
  EXPECT_EQ(ParseIoStat("").read_bytes, 0U);
  EXPECT_EQ(ParseIoStat("8:0 rbytes=x wbytes\n").write_bytes, 0U);
}

TEST_F(ProgramMeterTest, ReadsACgroupOfVersionTwo) {
  group_.memory_version = 2;
  WriteProcess(7, 7, 1, 0, 1024);
  Write("group/cgroup.procs", "8\n7\n");
  Write("group/memory.current", "3000000\n");
  Write("group/memory.peak", "5000000\n");
  Write("group/memory.swap.current", "4096\n");
  Write(
      "group/memory.stat",
      "anon 2000000\nfile 500000\npgfault 1150\npgmajfault 31\nworkingset_refault_anon 9\nworkingset_refault_file 2\n");
  Write("group/cpu.stat", "usage_usec 3\nuser_usec 2010000\nsystem_usec 500000\n");
  Write("group/io.stat", "8:0 rbytes=65536 wbytes=4096\n");
  Write("group/memory.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=500\n");
  ProgramMeter meter({.root = root_.string(), .pid = 7, .own_group = &group_});
  meter.Sample(milliseconds(0));
  EXPECT_EQ(meter.peak_memory_bytes(), 0U) << "what is there before the program is the runner's";
  meter.Begin(Taken());
  meter.Sample(milliseconds(100));
  v1::CommandResult result;
  meter.Fill(&result);
  EXPECT_EQ(result.scope(), v1::CommandResult::CGROUP);
  EXPECT_EQ(meter.Processes(), (std::vector<pid_t>{7, 8}));
  EXPECT_EQ(result.peak_memory_bytes(), 5'000'000U);
  EXPECT_EQ(result.peak_resident_bytes(), kMib);
  EXPECT_EQ(result.peak_anon_bytes(), 2'000'000U);
  EXPECT_EQ(result.peak_file_bytes(), 500'000U);
  EXPECT_EQ(result.peak_swap_bytes(), 4096U);
  EXPECT_EQ(result.major_faults(), 30U);
  EXPECT_EQ(result.minor_faults(), 1150U - 31U - 100U);
  EXPECT_EQ(result.refault_bytes(), 2U * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(result.disk_read_bytes(), 65536U);
  EXPECT_EQ(base::FromProto(result.user_cpu_time()), milliseconds(2000));
  EXPECT_EQ(base::FromProto(result.system_cpu_time()), milliseconds(500));
  EXPECT_EQ(base::FromProto(result.stall_some_time()), std::chrono::microseconds(1500));
  EXPECT_EQ(base::FromProto(result.stall_full_time()), std::chrono::microseconds(500));
}

TEST_F(ProgramMeterTest, ReadsACgroupOfVersionOne) {
  group_.memory_version = 1;
  WriteProcess(7, 7, 1, 0, 1024);
  Write("group/memory.usage_in_bytes", "3000000\n");
  Write("group/memory.max_usage_in_bytes", "5000000\n");
  Write("group/memory.stat",
        "rss 1\ntotal_rss 2000000\ntotal_cache 500000\ntotal_swap 4096\ntotal_pgfault 1150\n"
        "total_pgmajfault 31\nworkingset_refault_file 2\n");
  ProgramMeter meter({.root = root_.string(), .pid = 7, .own_group = &group_});
  meter.Begin(Taken());
  std::ifstream peak(root_ / "group/memory.max_usage_in_bytes");
  std::string text;
  std::getline(peak, text);
  EXPECT_EQ(text.substr(0, 1), "0") << "the peak is taken back";
  meter.Sample(milliseconds(100));
  rusage usage{};
  usage.ru_maxrss = 20480;
  usage.ru_inblock = 16;
  usage.ru_utime.tv_sec = 3;
  usage.ru_majflt = 11;
  meter.Finish(usage);
  v1::CommandResult result;
  meter.Fill(&result);
  EXPECT_EQ(result.peak_memory_bytes(), 3'000'000U);
  EXPECT_EQ(result.peak_resident_bytes(), 20 * kMib);
  EXPECT_EQ(result.peak_anon_bytes(), 2'000'000U);
  EXPECT_EQ(result.peak_swap_bytes(), 4096U);
  EXPECT_EQ(result.major_faults(), 30U);
  EXPECT_EQ(result.disk_read_bytes(), 16U * 512U);
  EXPECT_EQ(base::FromProto(result.user_cpu_time()), milliseconds(2990));
  EXPECT_FALSE(result.has_stall_some_time());
}

TEST_F(ProgramMeterTest, WithoutACgroupTheProcessesOfItsGroupAreAddedUp) {
  WriteProcess(7, 7, 1000, 5, 4096);
  WriteProcess(8, 7, 200, 3, 2048);
  WriteProcess(9, 9, 9999, 9999, 999999);
  ProgramMeter meter({.root = root_.string(), .pid = 7});
  meter.Begin(Taken());
  meter.Sample(milliseconds(0));
  EXPECT_EQ(meter.Processes(), (std::vector<pid_t>{7, 8}));
  // One has ended: what it did stays. Its files say nothing any more.
  for (const char* const file : {"proc/8/stat", "proc/8/status", "proc/8/io"}) Write(file, "");
  std::filesystem::remove_all(root_ / "proc/8");
  meter.Sample(milliseconds(100));
  v1::CommandResult result;
  meter.Fill(&result);
  EXPECT_EQ(result.scope(), v1::CommandResult::PROCESS_GROUP);
  EXPECT_EQ(result.peak_memory_bytes(), 6 * kMib);
  EXPECT_EQ(result.peak_anon_bytes(), 3 * kMib);
  EXPECT_EQ(result.peak_swap_bytes(), 8192U);
  EXPECT_EQ(result.minor_faults(), 1100U);
  EXPECT_EQ(result.major_faults(), 7U);
  EXPECT_EQ(result.disk_read_bytes(), 8192U);
}

TEST_F(ProgramMeterTest, WhatTheRunnerHadIsNotThePrograms) {
  ProgramMeter meter({.root = root_.string(), .pid = 7});
  meter.Begin(Taken());
  rusage usage{};
  usage.ru_maxrss = 8192;  // the runner's own
  usage.ru_minflt = 100;
  usage.ru_majflt = 1;
  meter.Finish(usage);
  v1::CommandResult result;
  meter.Fill(&result);
  EXPECT_EQ(result.peak_resident_bytes(), 0U);
  EXPECT_EQ(result.minor_faults(), 0U);
  EXPECT_EQ(result.major_faults(), 0U);
}

}  // namespace
}  // namespace ballast::agent
