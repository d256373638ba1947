#include "worker/model/stage_meter.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "tests/unit/worker/model/model_directory.h"

namespace ballast::model {
namespace {

class StageMeterTest : public testing::Test {
 protected:
  void Put(const std::string& path, std::string_view content) {
    const std::filesystem::path file = directory_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }
  void PutProcess(const std::string& process, int minor, int major, int read_bytes) {
    Put("proc/" + process + "/stat", "7 (a) R 1 7 7 0 -1 0 " + std::to_string(minor) + " 0 " + std::to_string(major) +
                                         " 0 1 2 0 0 20 0 1 0 100 4096 1 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n");
    Put("proc/" + process + "/io",
        "rchar: 1\nwchar: 1\nread_bytes: " + std::to_string(read_bytes) + "\nwrite_bytes: 0\n");
    Put("proc/" + process + "/status",
        "VmLck:\t 8 kB\nVmRSS:\t 60 kB\nRssAnon:\t 10 kB\nRssFile:\t 20 kB\nRssShmem:\t 30 kB\nVmSwap:\t 4 kB\n");
    Put("proc/" + process + "/smaps_rollup",
        "55-7f ---p 00000000 00:00 0 [rollup]\nRss: 60 kB\nPss: 45 kB\nPss_Anon: 10 kB\n");
  }
  std::string Root() const { return directory_.path().string() + "/"; }

  ModelDirectory directory_;
};

TEST_F(StageMeterTest, TellsWhatCameInAStageAndWhatIsThereAtItsEnd) {
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  PutProcess("self", 100, 10, 1000);
  Put("proc/vmstat", "workingset_refault_anon 5\nworkingset_refault_file 50\n");
  StageMeter meter(base::RealClock().Monotonic(), Root());
  meter.Begin();
  PutProcess("self", 130, 14, 9000);
  Put("proc/vmstat", "workingset_refault_anon 6\nworkingset_refault_file 57\n");
  const v1::LoadStage stage = meter.End(v1::LoadStage::LOAD);
  EXPECT_EQ(stage.kind(), v1::LoadStage::LOAD);
  EXPECT_EQ(stage.minor_faults(), 30U);
  EXPECT_EQ(stage.major_faults(), 4U);
  EXPECT_EQ(stage.disk_read_bytes(), 8000U);
  EXPECT_EQ(stage.refault_bytes(), 8 * page_bytes);
  EXPECT_EQ(stage.footprint().resident_bytes(), 60U << 10U);
  EXPECT_EQ(stage.footprint().anon_bytes(), 10U << 10U);
  EXPECT_EQ(stage.footprint().file_bytes(), 20U << 10U);
  EXPECT_EQ(stage.footprint().shmem_bytes(), 30U << 10U);
  EXPECT_EQ(stage.footprint().swap_bytes(), 4U << 10U);
  EXPECT_EQ(stage.footprint().locked_bytes(), 8U << 10U);
  EXPECT_EQ(stage.footprint().pss_bytes(), 45U << 10U);
  EXPECT_GT(base::FromProto(stage.duration()).count(), 0);
}

TEST_F(StageMeterTest, CountsTheRuntimeFromItsStartOn) {
  PutProcess("self", 100, 10, 1000);
  StageMeter meter(base::RealClock().Monotonic(), Root());
  meter.Begin();
  PutProcess("42", 7, 2, 300);
  meter.AddProcess(42);
  const v1::LoadStage stage = meter.End(v1::LoadStage::LOAD);
  EXPECT_EQ(stage.minor_faults(), 7U);
  EXPECT_EQ(stage.disk_read_bytes(), 300U);
  EXPECT_EQ(stage.footprint().resident_bytes(), 120U << 10U);
  EXPECT_EQ(stage.footprint().pss_bytes(), 90U << 10U);
}

TEST_F(StageMeterTest, AnOwnCgroupTellsOfItsRefaults) {
  PutProcess("self", 1, 1, 1);
  Put("proc/vmstat", "workingset_refault_anon 5\nworkingset_refault_file 50\n");
  Put("proc/self/cgroup", "0::/run\n");
  Put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  Put("sys/fs/cgroup/run/memory.current", "1\n");
  Put("sys/fs/cgroup/run/memory.stat", "workingset_refault_anon 1\nworkingset_refault_file 2\n");
  StageMeter meter(base::RealClock().Monotonic(), Root());
  meter.Begin();
  Put("sys/fs/cgroup/run/memory.stat", "workingset_refault_anon 1\nworkingset_refault_file 4\n");
  Put("proc/vmstat", "workingset_refault_anon 5\nworkingset_refault_file 500\n");
  EXPECT_EQ(meter.End(v1::LoadStage::LOAD).refault_bytes(), 2 * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
}

TEST_F(StageMeterTest, WhatCannotBeReadIsZero) {
  StageMeter meter(base::RealClock().Monotonic(), Root());
  meter.Begin();
  const v1::LoadStage stage = meter.End(v1::LoadStage::PARSE);
  EXPECT_EQ(stage.minor_faults(), 0U);
  EXPECT_EQ(stage.footprint().resident_bytes(), 0U);
}

}  // namespace
}  // namespace ballast::model
