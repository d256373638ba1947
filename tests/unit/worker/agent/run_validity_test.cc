#include "worker/agent/run_validity.h"

#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "common/config/field_rules.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Remark = v1::ValidityRemark;

constexpr std::int64_t kMiB = 1 << 20;

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_burst();
  config::ApplyDefaults(&spec);  // 25 % of the processors, 10 % of the limit, 25 % of swap
  return spec;
}

// A machine of 1000 MiB with two processors, 300 MiB of them in use by others.
class RunValidityTest : public testing::Test {
 protected:
  RunValidityTest() {
    Set(MetricId::kMemTotalBytes, 1000 * kMiB);
    Set(MetricId::kMemLimitBytes, 1000 * kMiB);
    Set(MetricId::kMemLimitAvailableBytes, 700 * kMiB);
    Set(MetricId::kSwapTotalBytes, 200 * kMiB);
    Set(MetricId::kSwapFreeBytes, 200 * kMiB);
    Set(MetricId::kCpuBusyMsTotal, 5000);
    Set(MetricId::kCpuIdleMsTotal, 90000);
    reading_.realtime = seconds(1'700'000'000);
    reading_.monotonic = seconds(1000);
    reading_.boottime = seconds(1500);
    result_.set_sample_count(1000);
  }

  void Set(MetricId id, std::int64_t value) { row_[metrics::IndexOf(id)] = value; }
  void Rise(MetricId id, std::int64_t by) { row_[metrics::IndexOf(id)] += by; }

  void Begin() {
    validity_->Begin(row_, reading_);
    Set(MetricId::kRunnerAnonBytes, 0);
    Set(MetricId::kRunnerShmemBytes, 0);
    Set(MetricId::kRunnerSwapBytes, 0);
    Set(MetricId::kRunnerCpuMsTotal, 0);
    Sample(3);
  }
  void Sample(int times = 1) {
    for (int i = 0; i < times; ++i) validity_->AddSample(row_);
  }
  // The runner takes memory that was available.
  void Hold(std::int64_t mib) {
    Set(MetricId::kRunnerAnonBytes, mib * kMiB);
    Set(MetricId::kMemLimitAvailableBytes, (700 - mib) * kMiB);
  }
  void PassClocks(std::chrono::nanoseconds time) {
    reading_.realtime += time;
    reading_.monotonic += time;
    reading_.boottime += time;
  }
  void Look() { validity_->AddConditions(reading_); }

  // The remark of a kind; null where there is none.
  const Remark* Find(Remark::Kind kind) {
    judged_ = validity_->Judge(result_);
    for (const Remark& remark : judged_.remarks()) {
      EXPECT_FALSE(remark.message().empty());
      if (remark.kind() == kind) return &remark;
    }
    return nullptr;
  }
  bool valid() { return validity_->Judge(result_).valid(); }

  std::optional<RunValidity> validity_{std::in_place, Spec()};
  metrics::SampleRow row_ = metrics::EmptyRow();
  ConditionsReading reading_;
  v1::RunResult result_;
  v1::Validity judged_;
};

TEST_F(RunValidityTest, AQuietRunIsValidAndSaysHowQuiet) {
  Begin();
  Hold(400);
  Sample(10);
  Rise(MetricId::kCpuBusyMsTotal, 20);
  Rise(MetricId::kCpuIdleMsTotal, 1980);
  Sample();
  PassClocks(seconds(1));
  Look();
  EXPECT_TRUE(valid());
  ASSERT_NE(Find(Remark::BACKGROUND_CPU), nullptr);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_CPU)->value(), 1);
  EXPECT_EQ(Find(Remark::BACKGROUND_CPU)->threshold(), 25);
  ASSERT_NE(Find(Remark::BACKGROUND_MEMORY), nullptr);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
  EXPECT_EQ(judged_.remarks_size(), 2);
}

TEST_F(RunValidityTest, WorkOfTheRunnerTheAgentAndReclaimIsNoBackground) {
  Begin();
  Rise(MetricId::kCpuBusyMsTotal, 1900);
  Rise(MetricId::kCpuIdleMsTotal, 100);
  Set(MetricId::kRunnerCpuMsTotal, 900);
  reading_.agent_cpu += milliseconds(100);
  reading_.reclaim_cpu += milliseconds(500);
  Sample();
  Look();
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_CPU)->value(), 20);
  EXPECT_TRUE(valid());
  // Once the runner was waited for, all of its time is known.
  reading_.children_cpu += milliseconds(1100);
  Set(MetricId::kRunnerCpuMsTotal, metrics::kAbsent);
  Sample();
  Look();
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_CPU)->value(), 10);
}

TEST_F(RunValidityTest, WorkOfOthersDisqualifies) {
  Begin();
  Rise(MetricId::kCpuBusyMsTotal, 520);
  Rise(MetricId::kCpuIdleMsTotal, 1480);
  Sample();
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_CPU)->value(), 26);
  EXPECT_TRUE(Find(Remark::BACKGROUND_CPU)->disqualifies());
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, MemoryOfOthersDisqualifiesButASingleSampleDoesNot) {
  Begin();
  Rise(MetricId::kMemLimitAvailableBytes, -500 * kMiB);
  Sample();
  Rise(MetricId::kMemLimitAvailableBytes, 500 * kMiB);
  Sample(2);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
  Rise(MetricId::kMemLimitAvailableBytes, -120 * kMiB);
  Sample(2);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 12);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, OthersThatAreSwappedOutByTheLoadHaveNotChanged) {
  Begin();
  Hold(600);
  Sample(3);
  // 150 MiB of others go to swap, 50 of the runner's too; what they leave the runner takes.
  Set(MetricId::kSwapFreeBytes, 0);
  Set(MetricId::kRunnerSwapBytes, 50 * kMiB);
  Set(MetricId::kRunnerAnonBytes, 700 * kMiB);
  Set(MetricId::kMemLimitAvailableBytes, 150 * kMiB);
  Sample(3);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
}

TEST_F(RunValidityTest, ARunnerThatIsGoneSaysNothingOfOthers) {
  Begin();
  Hold(600);
  Sample(3);
  Set(MetricId::kRunnerAnonBytes, metrics::kAbsent);  // dying: its memory is still in use, and no longer its own
  Sample(5);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
}

TEST_F(RunValidityTest, WhatTheLoadsCgroupHoldsIsTheLoadsOwnAlsoWhereNoProcessMapsIt) {
  Begin();
  Set(MetricId::kLoadAnonBytes, 1 * kMiB);
  Set(MetricId::kLoadShmemBytes, 0);
  Set(MetricId::kLoadCgroupMemoryBytes, 401 * kMiB);  // a file in tmpfs
  Set(MetricId::kLoadCgroupSwapBytes, 100 * kMiB);
  Set(MetricId::kSwapFreeBytes, 100 * kMiB);
  Set(MetricId::kMemLimitAvailableBytes, 299 * kMiB);
  Sample(3);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
  // Without a cgroup of its own nobody can tell whose it is.
  Set(MetricId::kLoadCgroupMemoryBytes, metrics::kAbsent);
  Set(MetricId::kLoadCgroupSwapBytes, metrics::kAbsent);
  Sample(3);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 50);
}

TEST_F(RunValidityTest, NobodyElseIsInTheGroupOfAnEnvironment) {
  v1::JobSpec spec = Spec();
  spec.mutable_environment_profile()->set_memory_bytes(500 * kMiB + 100);  // the kernel keeps whole pages
  validity_.emplace(spec);
  Set(MetricId::kMemLimitBytes, 500 * kMiB);
  Set(MetricId::kMemLimitAvailableBytes, 490 * kMiB);
  Begin();
  Set(MetricId::kMemLimitAvailableBytes, 100 * kMiB);  // left by a program that is gone, with its cgroup
  Sample(3);
  EXPECT_DOUBLE_EQ(Find(Remark::BACKGROUND_MEMORY)->value(), 0);
  // A tighter limit than the environment's is somebody else's, and what is below it too.
  Set(MetricId::kMemLimitBytes, 400 * kMiB);
  Sample(3);
  EXPECT_GT(Find(Remark::BACKGROUND_MEMORY)->value(), 10);
}

TEST_F(RunValidityTest, SwapInUseBeforeTheRun) {
  Set(MetricId::kSwapFreeBytes, 160 * kMiB);
  Begin();
  EXPECT_DOUBLE_EQ(Find(Remark::SWAP_IN_USE)->value(), 20);
  EXPECT_TRUE(valid());
  Set(MetricId::kSwapFreeBytes, 100 * kMiB);
  validity_->Begin(row_, reading_);
  EXPECT_TRUE(Find(Remark::SWAP_IN_USE)->disqualifies());
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, ThrottlingIsCountedWhereTheKernelCounts) {
  reading_.throttle_count = 5;
  reading_.too_hot = true;
  Begin();
  Look();
  EXPECT_EQ(Find(Remark::THERMAL_THROTTLING), nullptr) << "it was no more than before";
  reading_.throttle_count = 7;
  Look();
  EXPECT_EQ(Find(Remark::THERMAL_THROTTLING)->value(), 2);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, HeatIsReadFromTheZonesElsewhere) {
  reading_.too_hot = false;
  Begin();
  Look();
  EXPECT_EQ(Find(Remark::THERMAL_THROTTLING), nullptr);
  reading_.too_hot = true;
  Look();
  Look();
  EXPECT_EQ(Find(Remark::THERMAL_THROTTLING)->value(), 2);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, AGovernorThatSavesPowerIsOnlySaid) {
  validity_->SetDevice({}, "schedutil");
  Begin();
  for (const double percent : {80.0, 35.0, 90.0}) {
    reading_.frequency_percent = percent;
    Look();
  }
  EXPECT_EQ(Find(Remark::FREQUENCY_GOVERNOR)->value(), 35);
  EXPECT_TRUE(valid());
  validity_->SetDevice({}, "performance");
  EXPECT_EQ(Find(Remark::FREQUENCY_GOVERNOR), nullptr);
}

TEST_F(RunValidityTest, ClockJumpsAndSleepAreToldApart) {
  Begin();
  for (int i = 0; i < 100; ++i) {
    PassClocks(seconds(1));
    reading_.realtime += std::chrono::microseconds(500);  // slewed
    Look();
  }
  EXPECT_EQ(Find(Remark::CLOCK_JUMP), nullptr);
  PassClocks(seconds(1));
  reading_.realtime -= seconds(30);
  Look();
  EXPECT_DOUBLE_EQ(Find(Remark::CLOCK_JUMP)->value(), 30);
  EXPECT_EQ(Find(Remark::SUSPENDED), nullptr);
  EXPECT_TRUE(valid());
  reading_.realtime += seconds(60);  // asleep: the monotonic clock stands still
  reading_.boottime += seconds(60);
  Look();
  EXPECT_DOUBLE_EQ(Find(Remark::SUSPENDED)->value(), 60);
  EXPECT_DOUBLE_EQ(Find(Remark::CLOCK_JUMP)->value(), 30);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, MissedSamplesDisqualifyBeyondFivePercent) {
  Begin();
  result_.set_sample_count(96);
  result_.set_missed_sample_count(4);
  EXPECT_FALSE(Find(Remark::MISSED_SAMPLES)->disqualifies());
  result_.set_sample_count(90);
  result_.set_missed_sample_count(10);
  EXPECT_EQ(Find(Remark::MISSED_SAMPLES)->value(), 10);
  EXPECT_DOUBLE_EQ(Find(Remark::MISSED_SAMPLES)->threshold(), 5);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, AnOomDaemonDisqualifiesOnlyWhereItEndedTheRun) {
  validity_->SetDevice({"earlyoom", "systemd-oomd"}, "");
  Begin();
  EXPECT_EQ(Find(Remark::OOM_DAEMON)->value(), 2);
  EXPECT_TRUE(valid());
  result_.mutable_outcome()->mutable_evidence()->set_killer(v1::USERSPACE_OOM_DAEMON);
  EXPECT_FALSE(valid());
}

TEST_F(RunValidityTest, ZramSaysHowFarItCompressed) {
  Begin();
  Set(MetricId::kZramDataBytes, 100 * kMiB);
  Set(MetricId::kZramCompressedBytes, 40 * kMiB);
  Sample();
  Set(MetricId::kZramDataBytes, 1 * kMiB);  // swapped in again
  Set(MetricId::kZramCompressedBytes, 1 * kMiB);
  Sample();
  EXPECT_DOUBLE_EQ(Find(Remark::ZRAM)->value(), 2.5);
  EXPECT_TRUE(valid());
}

TEST_F(RunValidityTest, ADeviceThatDidNotSettle) {
  validity_->SetNotSettled(seconds(20), "the processors were busy");
  Begin();
  EXPECT_EQ(Find(Remark::NOT_SETTLED)->value(), 20);
  EXPECT_EQ(Find(Remark::NOT_SETTLED)->message(),
            "the device did not become quiet within 20 s: the processors were busy");
  EXPECT_FALSE(valid());
}

}  // namespace
}  // namespace ballast::agent
