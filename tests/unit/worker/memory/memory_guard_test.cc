#include "ballast/memory_guard.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/guard/fake_device.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience(30);
constexpr std::uint64_t kMiB = 1U << 20U;

// What callbacks were told. Thread-safe.
class Heard {
 public:
  MemoryGuard::Callback Listener() {
    return [this](const v1::GuardAct& act, const v1::MemoryReading& reading) {
      const std::scoped_lock lock(mutex_);
      acts_.push_back(act);
      readings_.push_back(reading);
      changed_.notify_all();
    };
  }
  bool WaitForOne() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [this] { return !acts_.empty(); });
  }
  std::vector<v1::GuardAct> acts() {
    const std::scoped_lock lock(mutex_);
    return acts_;
  }
  std::vector<v1::MemoryReading> readings() {
    const std::scoped_lock lock(mutex_);
    return readings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::GuardAct> acts_;
  std::vector<v1::MemoryReading> readings_;
};

// A machine of 4000 MiB whose files the test writes; the guard reads it as it reads a real one.
class MemoryGuardTest : public ::testing::Test {
 protected:
  MemoryGuardTest() {
    options_.root = proc_.root();
    options_.sample_interval = std::chrono::milliseconds(10);
  }
  std::unique_ptr<MemoryGuard> Create() {
    auto guard = MemoryGuard::Create(options_);
    EXPECT_TRUE(guard.ok()) << guard.status();
    guard.value()->OnWarning(warnings_.Listener());
    guard.value()->OnAct(acts_.Listener());
    return *std::move(guard);
  }
  // Waits until a sample has seen this much in use.
  static bool WaitForUse(MemoryGuard& guard, std::uint64_t used_mib) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      v1::MemoryReport report;
      EXPECT_TRUE(guard.Fill(&report).ok());
      if (report.peaks().used_bytes() >= used_mib * kMiB) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  guard::FakeProc proc_;
  Heard warnings_;
  Heard acts_;
  MemoryGuardOptions options_;
};

TEST_F(MemoryGuardTest, WarnsNearAThreshold) {
  const auto guard = Create();
  ASSERT_TRUE(guard->Start().ok());
  EXPECT_TRUE(guard->monitoring());
  proc_.SetAvailableMib(240);  // 6 %; the threshold is at 5 %
  ASSERT_TRUE(warnings_.WaitForOne());
  const v1::GuardAct warning = warnings_.acts().front();
  EXPECT_EQ(warning.action(), v1::GuardAct::WARNED);
  EXPECT_EQ(warning.signal(), v1::GuardAct::AVAILABLE_MEMORY);
  EXPECT_EQ(warning.value(), 240.0 * kMiB);
  EXPECT_EQ(warning.threshold(), 200.0 * kMiB);
  EXPECT_EQ(warnings_.readings().front().available_bytes(), 240 * kMiB);
  guard->Stop();
  EXPECT_TRUE(acts_.acts().empty());
}

TEST_F(MemoryGuardTest, BeyondAThresholdItDropsWhatCanBeDroppedAndThenCalls) {
  const auto guard = Create();
  std::vector<std::string> order;  // both from the guard's second thread
  Heard heard;
  guard->OnAct([&, listener = heard.Listener()](const v1::GuardAct& act, const v1::MemoryReading& reading) {
    order.emplace_back("callback");
    listener(act, reading);
  });
  const Droppable cache = guard->AddDroppable("cache", 0, [&order] {
    order.emplace_back("drop");
    return std::uint64_t{1};
  });
  ASSERT_TRUE(guard->Start().ok());
  proc_.SetAvailableMib(20);  // half a percent: a load of the worker's would be ended
  ASSERT_TRUE(heard.WaitForOne());
  guard->Stop();
  EXPECT_THAT(order, ::testing::ElementsAre("drop", "callback"));
  EXPECT_EQ(heard.acts().front().action(), v1::GuardAct::SHRINK_ASKED);
  v1::MemoryReport report;
  ASSERT_TRUE(guard->Fill(&report).ok());
  ASSERT_GE(report.guard_acts_size(), 1);
  EXPECT_EQ(report.guard_acts(0).action(), v1::GuardAct::SHRINK_ASKED);
  EXPECT_TRUE(report.guard_acts(0).has_reaction());
  EXPECT_EQ(report.last_optimisation().steps(1).name(), "cache");
  EXPECT_FALSE(report.monitoring());
}

TEST_F(MemoryGuardTest, OptimisingCanBeLeftToTheProgram) {
  options_.optimise_on_act = false;
  const auto guard = Create();
  ASSERT_TRUE(guard->Start().ok());
  proc_.SetAvailableMib(20);
  ASSERT_TRUE(acts_.WaitForOne());
  guard->Stop();
  v1::MemoryReport report;
  ASSERT_TRUE(guard->Fill(&report).ok());
  EXPECT_FALSE(report.has_last_optimisation());
}

TEST_F(MemoryGuardTest, SwitchedOffItOnlySamples) {
  options_.thresholds.set_mode(v1::GuardSpec::OFF);
  const auto guard = Create();
  ASSERT_TRUE(guard->Start().ok());
  proc_.SetAvailableMib(20);
  ASSERT_TRUE(WaitForUse(*guard, 3980));
  guard->Stop();
  EXPECT_TRUE(acts_.acts().empty());
  EXPECT_TRUE(warnings_.acts().empty());
}

TEST_F(MemoryGuardTest, TheReportHasPeaksAndTrendOfWhatWasSampled) {
  const auto guard = Create();
  ASSERT_TRUE(guard->Start().ok());
  for (std::uint64_t used = 2000; used <= 3200; used += 100) {
    proc_.SetAvailableMib(4000 - used);
    ASSERT_TRUE(WaitForUse(*guard, used));
  }
  v1::MemoryReport report;
  ASSERT_TRUE(guard->Fill(&report).ok());
  EXPECT_EQ(report.trend(), v1::MemoryReport::RISING);
  EXPECT_GT(report.slope().low_bytes_per_second(), 0);
  EXPECT_EQ(report.peaks().used_percent(), 80);
  EXPECT_EQ(report.peaks().min_available_bytes(), 800 * kMiB);
  EXPECT_EQ(report.now().used_bytes(), 3200 * kMiB);
  EXPECT_EQ(report.now().limit_source(), "machine");
  EXPECT_TRUE(report.monitoring());
  guard->Stop();
  proc_.SetAvailableMib(2000);
  ASSERT_TRUE(guard->Start().ok()) << "again, from the beginning";
  ASSERT_TRUE(WaitForUse(*guard, 2000));
  report.Clear();
  ASSERT_TRUE(guard->Fill(&report).ok());
  EXPECT_EQ(report.peaks().used_percent(), 50);
}

TEST_F(MemoryGuardTest, ReadsWithoutMonitoring) {
  const auto guard = Create();
  const auto reading = guard->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->limit_bytes(), 4000 * kMiB);
  EXPECT_EQ(reading->used_percent(), 50);
  v1::MemoryReport report;
  ASSERT_TRUE(guard->Fill(&report).ok());
  EXPECT_EQ(report.trend(), v1::MemoryReport::TOO_FEW_SAMPLES);
  EXPECT_FALSE(report.has_peaks());
}

TEST_F(MemoryGuardTest, TheProgramsOwnMemoryIsRead) {
  auto guard = MemoryGuard::Create();
  ASSERT_TRUE(guard.ok()) << guard.status();
  const auto reading = (*guard)->Read();
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_GT(reading->process_resident_bytes(), kMiB);
  EXPECT_LT(reading->process_anon_bytes(), reading->process_resident_bytes());
}

TEST_F(MemoryGuardTest, AdvisesOnWhatIsAvailableLessWhatIsKeptFree) {
  const auto guard = Create();
  const auto advice = guard->AdviseQuantization("tiny");
  ASSERT_TRUE(advice.ok()) << advice.status();
  EXPECT_EQ(advice->room_bytes(), 1800 * kMiB) << "2000 MiB less 5 % of 4000";
  EXPECT_EQ(advice->current_optimal(), "F16");
  proc_.SetAvailableMib(201);
  EXPECT_EQ(guard->AdviseQuantization("tiny")->current_optimal(), "");
  EXPECT_THAT(guard->AdviseQuantization("tyni").status().message(), HasSubstr("there are qwen2.5-7b-zh"));
  v1::ModelDescription large;
  large.set_quant("Q8_0");
  large.set_weight_bytes(10'000 * kMiB);
  v1::ModelDescription small = large;
  small.set_quant("Q2_K");
  small.set_weight_bytes(1000 * kMiB);
  proc_.SetAvailableMib(2000);
  EXPECT_EQ(guard->AdviseQuantization(std::vector{large, small})->current_optimal(), "Q2_K");
}

TEST_F(MemoryGuardTest, WhatGoesIsNotDroppedAnyMore) {
  auto guard = Create();
  int dropped = 0;
  {
    Droppable cache = guard->AddDroppable("cache", 0, [&dropped] { return static_cast<std::uint64_t>(++dropped); });
    Droppable moved = std::move(cache);
    EXPECT_EQ(guard->Optimise().steps_size(), 2);
  }
  EXPECT_EQ(guard->Optimise().steps_size(), 1);
  EXPECT_EQ(dropped, 1);
  const Droppable outlives = guard->AddDroppable("cache", 0, [] { return std::uint64_t{0}; });
  guard.reset();
}

TEST_F(MemoryGuardTest, ThresholdsThatCannotBeAreRefused) {
  options_.thresholds.set_max_psi_full_percent(101);
  EXPECT_THAT(MemoryGuard::Create(options_).status().message(), HasSubstr("max_psi_full_percent"));
  options_.thresholds.clear_max_psi_full_percent();
  options_.sample_interval = std::chrono::milliseconds(1);
  EXPECT_THAT(MemoryGuard::Create(options_).status().message(), HasSubstr("sample_interval"));
}

}  // namespace
}  // namespace ballast
