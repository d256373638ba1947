#include "worker/pressure/stall_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "tests/unit/worker/pressure/simulated_machine.h"
#include "worker/pressure/pressure_engine.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

v1::PressureWorkload StallBurst(double percent, nanoseconds duration) {
  v1::PressureWorkload workload;
  *workload.mutable_baseline() = base::ToProto(seconds(1));
  *workload.mutable_recovery() = base::ToProto(seconds(1));
  workload.set_floor_percent(5);
  workload.mutable_burst()->mutable_target_psi()->set_kind(v1::PsiTarget::SOME);
  workload.mutable_burst()->mutable_target_psi()->set_percent(percent);
  *workload.mutable_burst()->mutable_duration() = base::ToProto(duration);
  return workload;
}

v1::RunnerFinished Execute(const v1::PressureWorkload& workload, SimulatedMachine* machine) {
  PressureEngine engine({.gauge = machine,
                         .memory = machine,
                         .pacer = machine,
                         .observer = machine,
                         .stall = machine->stall_reader(),
                         .requests = &machine->requests},
                        nanoseconds(0));
  v1::RunnerFinished finished = engine.Run(workload, machine->stop_source.get_token());
  EXPECT_EQ(machine->held_bytes(), 0U) << "memory is left behind";
  return finished;
}

// What a hold looked like from outside, once the kernel's average has forgotten the ramp.
struct Hold {
  double min_stall = 1e9;
  double max_stall = 0;
  double min_held_mib = 1e12;
  double max_held_mib = 0;
  std::size_t samples = 0;
  std::size_t within_five_points = 0;
};

Hold Watch(const SimulatedMachine& machine, double target) {
  const auto [from, to] = machine.SpanOf(v1::Phase::HOLD);
  Hold hold;
  for (const SimulatedSample& sample : machine.samples) {
    if (sample.time < from + seconds(10) || sample.time >= to) continue;
    ++hold.samples;
    if (std::abs(sample.stall_avg10_percent - target) <= 5) ++hold.within_five_points;
    hold.min_stall = std::min(hold.min_stall, sample.stall_avg10_percent);
    hold.max_stall = std::max(hold.max_stall, sample.stall_avg10_percent);
    const double held = static_cast<double>(sample.held_bytes) / kMiB;
    hold.min_held_mib = std::min(hold.min_held_mib, held);
    hold.max_held_mib = std::max(hold.max_held_mib, held);
  }
  return hold;
}

// A device that swaps, whose tasks stall the more the more does not fit.
struct Plant {
  std::string name;
  std::uint64_t memory_mib;
  std::uint64_t swap_mib;
  double fill_mib_per_second;
  double swap_mib_per_second;
  double percent_per_mib;
  double response_s;
};

class StallPlantTest : public ::testing::TestWithParam<Plant> {
 protected:
  StallPlantTest() {
    const Plant& plant = GetParam();
    machine_.limit_bytes = plant.memory_mib * kMiB;
    machine_.others = [bytes = machine_.limit_bytes / 5](nanoseconds) { return bytes; };
    machine_.fill_bytes_per_second = plant.fill_mib_per_second * kMiB;
    machine_.stall.swap_bytes = plant.swap_mib * kMiB;
    machine_.stall.swap_bytes_per_second = plant.swap_mib_per_second * kMiB;
    machine_.stall.response_s = plant.response_s;
    machine_.stall.percent = [slope = plant.percent_per_mib](double excess) { return slope * excess / kMiB; };
  }

  SimulatedMachine machine_;
};

TEST_P(StallPlantTest, HoldsTheStallWithoutSwinging) {
  const v1::RunnerFinished finished = Execute(StallBurst(20, seconds(70)), &machine_);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(machine_.EventsOf(v1::Event::TARGET_REACHED), SizeIs(1)) << finished.message();
  EXPECT_FALSE(machine_.out_of_memory);
  const Hold hold = Watch(machine_, 20);
  EXPECT_EQ(hold.within_five_points, hold.samples) << hold.min_stall << " to " << hold.max_stall;
  // The bytes that this stall takes, a third more or less.
  const double span_mib = 20 / GetParam().percent_per_mib;
  EXPECT_LE(hold.max_held_mib - hold.min_held_mib, 0.7 * span_mib + 0.2);
  const double used_mib = static_cast<double>(machine_.limit_bytes) / kMiB * 0.8;
  EXPECT_NEAR((hold.max_held_mib + hold.min_held_mib) / 2, used_mib + span_mib, 0.3 * span_mib + 0.2);
  const double fill_s = used_mib / GetParam().fill_mib_per_second;
  const auto [ramp_begin, ramp_end] = machine_.SpanOf(v1::Phase::RAMP);
  EXPECT_LE(base::ToSeconds(ramp_end - ramp_begin), fill_s + 60);
}

TEST_P(StallPlantTest, FollowsWhatOthersTakeAndGiveBack) {
  // A quarter of the span up and down in a minute.
  const double amplitude = 5 / GetParam().percent_per_mib * kMiB;
  machine_.others = [base = machine_.limit_bytes / 5, amplitude](nanoseconds now) {
    return base + static_cast<std::uint64_t>(amplitude * (1 + std::sin(base::ToSeconds(now) / 60 * 2 * M_PI)));
  };
  Execute(StallBurst(20, seconds(120)), &machine_);
  const Hold hold = Watch(machine_, 20);
  EXPECT_GE(static_cast<double>(hold.within_five_points), 0.97 * static_cast<double>(hold.samples))
      << hold.min_stall << " to " << hold.max_stall;
}

TEST_P(StallPlantTest, ComesBackAfterItHadToGiveMemoryBack) {
  machine_.shrink_at = seconds(150);
  machine_.shrink = {.bytes = machine_.limit_bytes / 10, .pause = seconds(5)};
  v1::PressureWorkload workload = StallBurst(20, seconds(300));
  const v1::RunnerFinished finished = Execute(workload, &machine_);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_FALSE(machine_.out_of_memory);
  for (const SimulatedSample& sample : machine_.samples) {
    EXPECT_LE(sample.stall_avg10_percent, 45) << "overshot at " << base::ToSeconds(sample.time);
  }
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  for (const SimulatedSample& sample : machine_.samples) {
    if (sample.time >= to - seconds(30) && sample.time < to) {
      EXPECT_NEAR(sample.stall_avg10_percent, 20, 5) << base::ToSeconds(sample.time);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, StallPlantTest,
                         ::testing::Values(Plant{"Zram4G", 4096, 2048, 1000, 200, 0.3, 0.8},
                                           Plant{"Card2G", 2048, 512, 300, 20, 8, 1.0},
                                           Plant{"Flash8G", 8192, 4096, 2000, 400, 0.05, 0.6},
                                           Plant{"Disk1G", 1024, 1024, 200, 40, 2, 1.2},
                                           Plant{"Emulated4G", 4096, 1024, 150, 60, 4, 1.5}),
                         [](const auto& plant) { return plant.param.name; });

// Devices on which the pace of touching is free to choose: what a page costs that was swapped out differs by a factor
// of a hundred, and the kernel swaps in pieces that are all of the wanted stall, or more, at a pace that is too fast.
struct PacedPlant {
  std::string name;
  std::uint64_t memory_mib;
  double fault_us;
  double piece_mib;
};

class PacedStallTest : public ::testing::TestWithParam<PacedPlant> {};

TEST_P(PacedStallTest, FindsThePaceAtWhichTheStallCanBeHeld) {
  SimulatedMachine machine;
  machine.limit_bytes = GetParam().memory_mib * kMiB;
  machine.others = [bytes = machine.limit_bytes / 10](nanoseconds) { return bytes; };
  machine.stall.swap_bytes = machine.limit_bytes / 2;
  machine.stall.response_s = 0.3;
  machine.stall.fault_seconds = GetParam().fault_us / 1e6;
  machine.stall.piece_bytes = GetParam().piece_mib * kMiB;
  const v1::RunnerFinished finished = Execute(StallBurst(20, seconds(70)), &machine);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_FALSE(machine.out_of_memory);
  const Hold hold = Watch(machine, 20);
  EXPECT_GE(static_cast<double>(hold.within_five_points), 0.95 * static_cast<double>(hold.samples))
      << hold.min_stall << " to " << hold.max_stall << " %, everything touched in "
      << base::ToSeconds(machine.touch_interval) << " s";
}

INSTANTIATE_TEST_SUITE_P(Devices, PacedStallTest,
                         ::testing::Values(PacedPlant{"Zram2G", 2048, 100, 25}, PacedPlant{"Zram4G", 4096, 15, 40},
                                           PacedPlant{"Flash4G", 4096, 150, 30}, PacedPlant{"Disk2G", 2048, 500, 20}),
                         [](const auto& plant) { return plant.param.name; });

// Without swap the stall comes from file pages that are dropped and read again, in the last few percent, and behind
// them is the OOM kill.
TEST(StallCliffTest, DoesNotRunOverTheCliff) {
  SimulatedMachine machine;
  machine.fill_bytes_per_second = 1.0 * kGiB;
  const double edge = 0.03 * 4096 * kMiB;
  machine.stall.percent = [edge](double excess) { return 98 * std::pow(std::clamp(1 + excess / edge, 0.0, 1.0), 3); };
  v1::PressureWorkload workload = StallBurst(20, seconds(70));
  workload.set_floor_percent(0.1);
  const v1::RunnerFinished finished = Execute(workload, &machine);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_FALSE(machine.out_of_memory);
  const Hold hold = Watch(machine, 20);
  EXPECT_EQ(hold.within_five_points, hold.samples) << hold.min_stall << " to " << hold.max_stall;
}

TEST(StallCliffTest, StopsAtTheFloorWhereTheStallIsBeyondIt) {
  SimulatedMachine machine;
  const double edge = 0.005 * 4096 * kMiB;
  machine.stall.percent = [edge](double excess) { return 98 * std::clamp(1 + excess / edge, 0.0, 1.0); };
  const v1::RunnerFinished finished = Execute(StallBurst(20, seconds(20)), &machine);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(finished.message(), HasSubstr("down to the floor of 5 %"));
  EXPECT_FALSE(finished.has_time_to_target());
  EXPECT_FALSE(machine.out_of_memory);
  EXPECT_LE(machine.highest_used_percent, 95.0);
  ASSERT_THAT(machine.EventsOf(v1::Event::FLOOR_REACHED), Not(SizeIs(0)));
  EXPECT_THAT(machine.EventsOf(v1::Event::FLOOR_REACHED)[0].message(), HasSubstr("available or free in swap"));
}

TEST(StallCliffTest, GivesBackAtOnceWhenOthersPushOverTheEdge) {
  SimulatedMachine machine;
  machine.stall.swap_bytes = 1 * kGiB;
  machine.stall.percent = [](double excess) { return 0.3 * excess / kMiB; };
  // 300 MiB at once: a stall of 90 % more.
  machine.others = [](nanoseconds now) { return 800 * kMiB + (now > seconds(90) ? 300 * kMiB : 0); };
  Execute(StallBurst(20, seconds(120)), &machine);
  double longest_s = 0;
  double since_s = 90;
  std::size_t i = 0;
  for (; i < machine.samples.size(); ++i) {
    const SimulatedSample& sample = machine.samples[i];
    const double at = base::ToSeconds(sample.time);
    // What they took is given back: the stall is down to what is wanted, or nearly.
    const double excess_mib = static_cast<double>(sample.held_bytes) / kMiB + (at > 90 ? 1100 : 800) - 4096;
    if (at < 90 || excess_mib < 120) since_s = std::max(at, 90.0);
    if (at < 130) longest_s = std::max(longest_s, at - since_s);
  }
  EXPECT_LE(longest_s, 6);
}

// The kernel swaps out far more than was needed when memory is full for the first time: tasks stall for what comes
// back, ever less, and with it the average falls through what is wanted.
TEST(StallPatternTest, DoesNotTakeTheEndOfABurstForAStallThatIsHeld) {
  for (const double decay_s : {4.0, 7.0, 10.0}) {
    SimulatedMachine machine;
    machine.stall.swap_bytes = 1 * kGiB;
    std::optional<nanoseconds> burst_at;
    machine.stall.percent = [&](double excess) {
      if (!burst_at && excess > -60.0 * kMiB) burst_at = machine.Now();
      const double burst = burst_at ? 70 * std::exp(-base::ToSeconds(machine.Now() - *burst_at) / decay_s) : 0;
      return burst + std::max(0.0, 0.1 * excess / kMiB);
    };
    const v1::RunnerFinished finished = Execute(StallBurst(20, seconds(70)), &machine);
    EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
    ASSERT_TRUE(burst_at);
    const Hold hold = Watch(machine, 20);
    EXPECT_EQ(hold.within_five_points, hold.samples)
        << hold.min_stall << " to " << hold.max_stall << " after a burst that fades in " << decay_s << " s";
  }
}

TEST(StallPatternTest, SaysWhatItHoldsWhileItDoes) {
  SimulatedMachine machine;
  machine.stall.swap_bytes = 1 * kGiB;
  machine.stall.percent = [](double excess) { return excess / kMiB; };
  Execute(StallBurst(20, seconds(5)), &machine);
  for (const v1::Phase& phase : machine.phases) {
    EXPECT_EQ(phase.has_target_psi(), phase.kind() == v1::Phase::RAMP || phase.kind() == v1::Phase::HOLD);
  }
  const auto [from, to] = machine.SpanOf(v1::Phase::HOLD);
  for (const auto& [time, state] : machine.states) {
    if (time <= from || time >= to) continue;
    EXPECT_EQ(state.target_psi().percent(), 20);
    EXPECT_EQ(state.target_percent(), 0);
  }
}

TEST(StallPatternTest, AKernelThatDoesNotTellIsInvalid) {
  SimulatedMachine machine;
  PressureEngine engine({.gauge = &machine, .memory = &machine, .pacer = &machine, .observer = &machine},
                        nanoseconds(0));
  const v1::RunnerFinished finished = engine.Run(StallBurst(20, seconds(5)), {});
  EXPECT_EQ(finished.outcome(), v1::INVALID);
  EXPECT_THAT(finished.message(), HasSubstr("psi=1"));
}

}  // namespace
}  // namespace ballast::pressure
