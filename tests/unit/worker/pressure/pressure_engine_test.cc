#include "worker/pressure/pressure_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/worker/pressure/simulated_machine.h"
#include "worker/pressure/pattern_curve.h"

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::PressureWorkload Workload() {
  v1::PressureWorkload workload;
  *workload.mutable_baseline() = base::ToProto(seconds(1));
  *workload.mutable_recovery() = base::ToProto(seconds(1));
  workload.set_floor_percent(5);
  workload.mutable_content()->set_kind(v1::PageContent::RANDOM);
  return workload;
}

v1::PressureWorkload Staircase(std::uint64_t step_bytes, nanoseconds interval, std::uint32_t steps) {
  v1::PressureWorkload workload = Workload();
  workload.mutable_staircase()->set_step_size_bytes(step_bytes);
  *workload.mutable_staircase()->mutable_interval() = base::ToProto(interval);
  workload.mutable_staircase()->set_steps(steps);
  return workload;
}

v1::PressureWorkload Burst(double target, nanoseconds duration) {
  v1::PressureWorkload workload = Workload();
  workload.mutable_burst()->set_target_percent(target);
  *workload.mutable_burst()->mutable_duration() = base::ToProto(duration);
  return workload;
}

v1::PressureWorkload Sawtooth(double min, double max, std::uint32_t cycles, nanoseconds cycle) {
  v1::PressureWorkload workload = Workload();
  workload.mutable_sawtooth()->set_min_percent(min);
  workload.mutable_sawtooth()->set_max_percent(max);
  workload.mutable_sawtooth()->set_cycles(cycles);
  *workload.mutable_sawtooth()->mutable_cycle_duration() = base::ToProto(cycle);
  return workload;
}

v1::PressureWorkload AllocateFull(v1::AllocateFullPattern::Until until, nanoseconds hold) {
  v1::PressureWorkload workload = Workload();
  workload.mutable_allocate_full()->set_until(until);
  *workload.mutable_allocate_full()->mutable_hold() = base::ToProto(hold);
  return workload;
}

class PressureEngineTest : public ::testing::Test {
 protected:
  v1::RunnerFinished Run(const v1::PressureWorkload& workload) {
    PressureEngine engine({.gauge = &machine_,
                           .memory = &machine_,
                           .pacer = &machine_,
                           .observer = &machine_,
                           .requests = &machine_.requests},
                          nanoseconds(0));
    v1::RunnerFinished finished = engine.Run(workload, machine_.stop_source.get_token());
    EXPECT_EQ(machine_.held_bytes(), 0U) << "memory is left behind";
    return finished;
  }

  // The share of the samples in [from, to) that are within `points` of `target(time)`.
  template <typename Target>
  double ShareWithin(nanoseconds from, nanoseconds to, double points, Target target) const {
    std::size_t all = 0;
    std::size_t within = 0;
    for (const SimulatedSample& sample : machine_.samples) {
      if (sample.time < from || sample.time >= to) continue;
      ++all;
      if (std::abs(sample.used_percent - target(sample.time)) <= points) ++within;
    }
    EXPECT_GT(all, 0U);
    return static_cast<double>(within) / static_cast<double>(all);
  }

  std::size_t MovesIn(nanoseconds from, nanoseconds to) const {
    std::size_t count = 0;
    for (const nanoseconds time : machine_.move_times) {
      if (time >= from && time < to) ++count;
    }
    return count;
  }

  SimulatedMachine machine_;
};

TEST_F(PressureEngineTest, ABurstGoesToAnotherTargetWhenItIsToldTo) {
  machine_.retarget_at = seconds(20);
  machine_.retarget_percent = 40;
  const v1::RunnerFinished finished = Run(Burst(70, seconds(60)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_GE(ShareWithin(seconds(10), seconds(20), 0.5, [](nanoseconds) { return 70.0; }), 0.95);
  EXPECT_GE(ShareWithin(seconds(25), seconds(55), 0.5, [](nanoseconds) { return 40.0; }), 0.95);
  std::vector<double> holds;
  for (const v1::Phase& phase : machine_.phases) {
    if (phase.kind() == v1::Phase::HOLD) holds.push_back(phase.target_percent());
  }
  EXPECT_THAT(holds, ElementsAre(70, 40)) << "each target is a hold of its own";
}

TEST_F(PressureEngineTest, AHoldUntilToldDoesNotGiveWayToWhatComesOnTop) {
  // Something of a quarter of the memory is loaded in the middle of the hold.
  machine_.others = [](nanoseconds now) { return (now > seconds(20) ? 1400 : 400) * kMiB; };
  machine_.end_hold_at = seconds(60);
  PressureEngine engine({.gauge = &machine_,
                         .memory = &machine_,
                         .pacer = &machine_,
                         .observer = &machine_,
                         .requests = &machine_.requests,
                         .hold_until_told = true},
                        nanoseconds(0));
  const v1::RunnerFinished finished = engine.Run(Burst(50, seconds(2)), machine_.stop_source.get_token());
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_NEAR(base::ToSeconds(to), 60, 0.1);
  EXPECT_EQ(MovesIn(from + seconds(1), to), 0U);
  for (const SimulatedSample& sample : machine_.samples) {
    if (sample.time > seconds(21) && sample.time < to) {
      EXPECT_GT(sample.used_percent, 70);
    }
  }
}

TEST_F(PressureEngineTest, NoPatternHoldsNothingUntilTold) {
  machine_.end_hold_at = seconds(10);
  PressureEngine engine({.gauge = &machine_,
                         .memory = &machine_,
                         .pacer = &machine_,
                         .observer = &machine_,
                         .requests = &machine_.requests,
                         .hold_until_told = true},
                        nanoseconds(0));
  v1::PressureWorkload nothing;
  *nothing.mutable_baseline() = base::ToProto(seconds(1));
  *nothing.mutable_recovery() = base::ToProto(seconds(1));
  const v1::RunnerFinished finished = engine.Run(nothing, machine_.stop_source.get_token());
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.peak_held_bytes(), 0U);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(finished.offset())), 11, 0.1);
}

TEST_F(PressureEngineTest, StaircaseTakesItsStepsOnTimeAndMeasuresThem) {
  machine_.fill_bytes_per_second = 500.0 * kMiB;  // a step takes 200 ms
  const v1::RunnerFinished finished = Run(Staircase(100 * kMiB, seconds(1), 5));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.peak_held_bytes(), 500 * kMiB);
  EXPECT_EQ(finished.filled_bytes(), 500 * kMiB);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(finished.fill_time())), 1.0, 0.01);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(finished.offset())), 7.0, 0.05);
  ASSERT_THAT(machine_.steps, SizeIs(5));
  for (int i = 0; i < 5; ++i) {
    const v1::Step& step = machine_.steps[static_cast<std::size_t>(i)];
    EXPECT_EQ(step.index(), static_cast<unsigned>(i) + 1);
    EXPECT_EQ(step.resident_delta_bytes(), static_cast<std::int64_t>(100 * kMiB));
    EXPECT_EQ(step.held_bytes(), static_cast<unsigned>(i + 1) * 100 * kMiB);
    EXPECT_EQ(step.resident_bytes(), step.held_bytes() + 7 * kMiB);
    // It began an interval after the one before began, however long that one took to fill.
    const nanoseconds begin = base::FromProto(step.offset()) - base::FromProto(step.fill_duration());
    EXPECT_NEAR(base::ToSeconds(begin), 1.0 + i, 0.002);
  }
  EXPECT_THAT(machine_.PhaseKinds(), ElementsAre(v1::Phase::BASELINE, v1::Phase::RAMP, v1::Phase::HOLD,
                                                 v1::Phase::RELEASE, v1::Phase::RECOVERY));
  EXPECT_THAT(machine_.EventsOf(v1::Event::PHASE_STARTED), SizeIs(5));
  EXPECT_THAT(machine_.EventsOf(v1::Event::STEP_REACHED), SizeIs(5));
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED), SizeIs(0));
  ASSERT_THAT(machine_.EventsOf(v1::Event::RELEASED), SizeIs(1));
  EXPECT_EQ(machine_.EventsOf(v1::Event::RELEASED)[0].value(), 500.0 * kMiB);
  EXPECT_EQ(base::FromProto(machine_.states.back().second.planned()), seconds(7));
}

TEST_F(PressureEngineTest, StaircaseStopsAtTheFloorAndCompletes) {
  // 4096 - 800 used - 204.8 floor = 3091 MiB: three steps of 1000 MiB and a part of the fourth.
  const v1::RunnerFinished finished = Run(Staircase(1000 * kMiB, seconds(2), 20));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(finished.message(), HasSubstr("3 of 20 steps"));
  EXPECT_THAT(machine_.steps, SizeIs(3));
  EXPECT_THAT(machine_.EventsOf(v1::Event::FLOOR_REACHED), SizeIs(1));
  EXPECT_LE(machine_.highest_used_percent, 95.0);
  EXPECT_GT(machine_.highest_used_percent, 94.8);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(finished.offset())), 1 + 4 * 2 + 1, 0.2);
}

TEST_F(PressureEngineTest, StaircaseThatCannotKeepUpSaysSo) {
  machine_.fill_bytes_per_second = 50.0 * kMiB;  // a step takes two intervals
  const v1::RunnerFinished finished = Run(Staircase(100 * kMiB, seconds(1), 4));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(machine_.steps, SizeIs(4));
  ASSERT_THAT(machine_.EventsOf(v1::Event::LAGGED), SizeIs(1));
  EXPECT_GE(machine_.EventsOf(v1::Event::LAGGED)[0].value(), 100.0 * kMiB);
  EXPECT_EQ(finished.max_lag_bytes(), 200 * kMiB) << "when the third step began, all four were due";
}

TEST_F(PressureEngineTest, BurstReachesItsTargetWithoutOvershootAndRests) {
  const v1::RunnerFinished finished = Run(Burst(70, seconds(20)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_LE(machine_.highest_used_percent, 70.0);
  EXPECT_THAT(machine_.EventsOf(v1::Event::TARGET_REACHED), SizeIs(1));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_NEAR(base::ToSeconds(to - from), 20, 0.01);
  EXPECT_EQ(ShareWithin(from, to, 0.5, [](nanoseconds) { return 70.0; }), 1.0);
  EXPECT_EQ(MovesIn(from, to), 0U) << "nothing moved around it, so nothing was to be moved";
  // 2867 - 800 MiB at 1 GiB/s, in not much more than the time of the fill.
  EXPECT_NEAR(base::ToSeconds(base::FromProto(finished.time_to_target())), 2.02, 0.05);
}

TEST_F(PressureEngineTest, BurstFollowsANeighbourThatGrowsAndShrinks) {
  // 5 % of memory up and down, once in four seconds.
  machine_.others = [](nanoseconds now) {
    const double phase = base::ToSeconds(now) / 4.0;
    const double height = std::abs(2 * (phase - std::floor(phase)) - 1);
    return 800 * kMiB + static_cast<std::uint64_t>(height * 0.05 * 4.0 * kGiB);
  };
  const v1::RunnerFinished finished = Run(Burst(70, seconds(60)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_GE(ShareWithin(from, to, 0.5, [](nanoseconds) { return 70.0; }), 0.99);
}

TEST_F(PressureEngineTest, BurstRecoversFromANeighbourThatJumps) {
  // 5 % of memory appear and disappear at once, every two seconds; filling them again takes 0.2 s.
  machine_.others = [](nanoseconds now) { return 800 * kMiB + (now / seconds(2) % 2 == 1 ? 205 * kMiB : 0); };
  const v1::RunnerFinished finished = Run(Burst(70, seconds(60)));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_GE(ShareWithin(from, to, 0.5, [](nanoseconds) { return 70.0; }), 0.9);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
}

TEST_F(PressureEngineTest, BurstIgnoresNoiseWithinTheDeadBand) {
  machine_.others = [](nanoseconds now) {
    return 800 * kMiB + (now / milliseconds(70) % 2 == 1 ? 6 * kMiB : 0);  // 0.15 points
  };
  Run(Burst(70, seconds(30)));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_LE(MovesIn(from, to), 3U);
}

TEST_F(PressureEngineTest, BurstHoldsNothingWhileOthersUseMoreAndGrowsWhenTheyLeave) {
  machine_.others = [](nanoseconds now) { return now < seconds(10) ? 3 * kGiB : 1 * kGiB; };
  const v1::RunnerFinished finished = Run(Burst(50, seconds(20)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED), ::testing::Not(SizeIs(0)));
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED)[0].message(), HasSubstr("other processes alone use 75.0 %"));
  EXPECT_EQ(machine_.EventsOf(v1::Event::LAGGED)[0].value(), 1.0 * kGiB);
  for (const SimulatedSample& sample : machine_.samples) {
    EXPECT_TRUE(sample.held_bytes == 0 || sample.time >= seconds(10));
  }
  EXPECT_EQ(ShareWithin(seconds(12), seconds(20), 0.5, [](nanoseconds) { return 50.0; }), 1.0);
}

TEST_F(PressureEngineTest, BurstStopsAtTheFloor) {
  v1::PressureWorkload workload = Burst(99, seconds(5));
  workload.set_floor_percent(10);
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(finished.message(), HasSubstr("floor of 10 %"));
  EXPECT_THAT(machine_.EventsOf(v1::Event::FLOOR_REACHED), SizeIs(1));
  EXPECT_THAT(machine_.EventsOf(v1::Event::TARGET_REACHED), SizeIs(0));
  EXPECT_LE(machine_.highest_used_percent, 90.0);
  EXPECT_FALSE(finished.has_time_to_target());
}

TEST_F(PressureEngineTest, TheFloorAlsoCountsWhatIsLeftOutsideOfTheLimit) {
  machine_.outer_bytes = 1 * kGiB;  // the machine is fuller than the cgroup
  const v1::RunnerFinished finished = Run(Burst(90, seconds(1)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_LE(finished.peak_held_bytes(), 1 * kGiB - 204 * kMiB);
  EXPECT_GE(finished.peak_held_bytes(), 1 * kGiB - 210 * kMiB);
}

TEST_F(PressureEngineTest, SawtoothFollowsItsTriangle) {
  const v1::PressureWorkload workload = Sawtooth(30, 70, 3, seconds(10));
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_NEAR(base::ToSeconds(to - from), 30, 0.01);
  const auto target = [&, begin = from](nanoseconds time) {
    return SawtoothPercent(workload.sawtooth(), time - begin);
  };
  EXPECT_GE(ShareWithin(from, to, 0.5, target), 0.99);
  const auto cycles = machine_.EventsOf(v1::Event::CYCLE_COMPLETED);
  ASSERT_THAT(cycles, SizeIs(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(cycles[i].value(), static_cast<double>(i + 1));
    EXPECT_NEAR(base::ToSeconds(base::FromProto(cycles[i].offset()) - from), 10.0 * static_cast<double>(i + 1), 0.1);
  }
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED), SizeIs(0));
}

TEST_F(PressureEngineTest, SawtoothHoldsNothingWhereOthersUseMoreThanItWants) {
  machine_.others = [](nanoseconds) { return 2 * kGiB; };  // 50 %
  const v1::PressureWorkload workload = Sawtooth(30, 70, 2, seconds(8));
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(machine_.EventsOf(v1::Event::CYCLE_COMPLETED), SizeIs(2));
  ASSERT_THAT(machine_.EventsOf(v1::Event::LAGGED), ::testing::Not(SizeIs(0)));
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED)[0].message(), HasSubstr("nothing is held"));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  const auto reachable = [&, begin = from](nanoseconds time) {
    return std::max(50.0, SawtoothPercent(workload.sawtooth(), time - begin));
  };
  EXPECT_GE(ShareWithin(from, to, 0.5, reachable), 0.99);
}

TEST_F(PressureEngineTest, SawtoothThatIsTooFastForTheDeviceSaysSo) {
  machine_.fill_bytes_per_second = 200.0 * kMiB;
  const v1::RunnerFinished finished = Run(Sawtooth(30, 80, 2, seconds(4)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  ASSERT_THAT(machine_.EventsOf(v1::Event::LAGGED), ::testing::Not(SizeIs(0)));
  EXPECT_THAT(machine_.EventsOf(v1::Event::LAGGED)[0].message(), HasSubstr("more slowly than the target"));
  // It fills 400 MiB of the 2048 that the target rises in two seconds.
  EXPECT_NEAR(static_cast<double>(finished.max_lag_bytes()), 1648.0 * kMiB, 30.0 * kMiB);
}

TEST_F(PressureEngineTest, SawtoothThatTheDeviceFollowsHasNoLag) {
  EXPECT_EQ(Run(Sawtooth(30, 70, 2, seconds(10))).max_lag_bytes(), 0U);
}

TEST_F(PressureEngineTest, BurstHoldsBytesInUse) {
  v1::PressureWorkload workload = Burst(0, seconds(10));
  workload.mutable_burst()->set_target_bytes(3 * kGiB);
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(finished.message(), HasSubstr("3 GiB in use reached"));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_EQ(ShareWithin(from, to, 0.2, [](nanoseconds) { return 75.0; }), 1.0);
  ASSERT_EQ(machine_.phases[2].kind(), v1::Phase::HOLD);
  EXPECT_EQ(machine_.phases[2].target_bytes(), 3 * kGiB);
  EXPECT_EQ(machine_.phases[2].target_percent(), 0);
  const auto state = std::find_if(machine_.states.rbegin(), machine_.states.rend(),
                                  [end = to](const auto& entry) { return entry.first < end; });
  EXPECT_DOUBLE_EQ(state->second.target_percent(), 75) << "charts show every target in percent";
}

TEST_F(PressureEngineTest, TraceFollowsItsCurveFromTheFirstPointToTheLast) {
  v1::PressureWorkload workload = Workload();
  const auto add = [&](seconds at) {
    v1::TracePoint* const point = workload.mutable_trace()->add_points();
    *point->mutable_offset() = base::ToProto(at);
    return point;
  };
  add(seconds(5))->set_used_percent(40);  // the curve begins here
  add(seconds(15))->set_used_percent(60);
  add(seconds(20))->set_used_bytes(3 * kGiB);
  add(seconds(35))->set_used_bytes(2 * kGiB);
  workload.mutable_trace()->set_source("day.csv");
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.message(), "a curve of 4 points from day.csv followed for 30.0 s");
  EXPECT_EQ(machine_.phases[1].target_percent(), 40);
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_NEAR(base::ToSeconds(to - from), 30, 0.01);
  const auto target = [begin = from](nanoseconds time) {
    const double elapsed = base::ToSeconds(time - begin);
    if (elapsed < 10) return 40 + 2 * elapsed;
    if (elapsed < 15) return 60 + 3 * (elapsed - 10);
    return 75 - (elapsed - 15) / 15 * 25;
  };
  EXPECT_GE(ShareWithin(from, to, 0.2, target), 0.99);
  EXPECT_EQ(finished.max_lag_bytes(), 0U);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(machine_.states.back().second.planned())),
              base::ToSeconds(machine_.Now()), 0.2);
}

TEST_F(PressureEngineTest, ATraceThatIsNoCurveIsInvalid) {
  v1::PressureWorkload workload = Workload();
  workload.mutable_trace()->add_points()->set_used_percent(40);
  workload.mutable_trace()->add_points()->set_used_percent(50);
  const v1::RunnerFinished finished = Run(workload);
  EXPECT_EQ(finished.outcome(), v1::INVALID);
  EXPECT_THAT(finished.message(), HasSubstr("point 2 of the trace"));
}

TEST_F(PressureEngineTest, ABurstGivesBackWhenAskedAndTakesItAgainAfterThePause) {
  machine_.shrink_at = seconds(8);  // in the hold
  machine_.shrink = {.bytes = 500 * kMiB, .pause = seconds(3)};
  const v1::RunnerFinished finished = Run(Burst(70, seconds(20)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  const auto released = machine_.EventsOf(v1::Event::RELEASED);
  ASSERT_THAT(released, SizeIs(2)) << "and at the end";
  EXPECT_EQ(released[0].value(), 500.0 * kMiB);
  EXPECT_LE(base::FromProto(released[0].offset()) - seconds(8), milliseconds(1));
  const double low = 70 - 100.0 * 500 / 4096;
  EXPECT_EQ(ShareWithin(milliseconds(8100), seconds(11), 0.3, [low](nanoseconds) { return low; }), 1.0);
  EXPECT_EQ(ShareWithin(seconds(12), seconds(20), 0.5, [](nanoseconds) { return 70.0; }), 1.0);
  for (const v1::Event& event : machine_.EventsOf(v1::Event::LAGGED)) {
    EXPECT_GE(base::FromProto(event.offset()), seconds(11)) << "the pause is what was asked for, and no lag";
  }
}

TEST_F(PressureEngineTest, AShrinkInterruptsALongFill) {
  machine_.fill_bytes_per_second = 10.0 * kMiB;  // half a megabyte takes 50 ms, a chunk of a step much longer
  machine_.shrink_at = seconds(4);
  machine_.shrink = {.bytes = 16 * kMiB, .pause = seconds(2)};
  const v1::RunnerFinished finished = Run(Staircase(100 * kMiB, seconds(60), 1));
  const auto released = machine_.EventsOf(v1::Event::RELEASED);
  ASSERT_THAT(released, SizeIs(2));
  EXPECT_LE(base::FromProto(released[0].offset()) - seconds(4), milliseconds(51));
  EXPECT_EQ(released[0].value(), 16.0 * kMiB);
  ASSERT_THAT(machine_.steps, SizeIs(1)) << "the fill goes on after the pause";
  EXPECT_EQ(machine_.steps[0].held_bytes(), 100 * kMiB);
  EXPECT_NEAR(base::ToSeconds(base::FromProto(machine_.steps[0].fill_duration())), 10 + 2 + 1.6, 0.2);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
}

TEST_F(PressureEngineTest, AStaircaseTakesWhatItGaveBackWithItsNextStep) {
  machine_.shrink_at = milliseconds(2500);
  machine_.shrink = {.bytes = 150 * kMiB, .pause = milliseconds(100)};
  Run(Staircase(100 * kMiB, seconds(1), 3));
  ASSERT_THAT(machine_.steps, SizeIs(3));
  EXPECT_EQ(machine_.steps[2].held_bytes(), 300 * kMiB);
  EXPECT_EQ(machine_.steps[2].resident_delta_bytes(), static_cast<std::int64_t>(250 * kMiB));
}

TEST_F(PressureEngineTest, AllocateFullDoesNotTakeBackWhatItGaveInItsHold) {
  machine_.shrink_at = seconds(8);
  machine_.shrink = {.bytes = 1 * kGiB, .pause = milliseconds(100)};
  Run(AllocateFull(v1::AllocateFullPattern::FLOOR, seconds(10)));
  EXPECT_EQ(ShareWithin(milliseconds(8100), seconds(13), 0.3, [](nanoseconds) { return 70.0; }), 1.0);
}

TEST_F(PressureEngineTest, AShrinkOfMoreThanIsHeldGivesAllBackAndTheRunGoesOn) {
  machine_.shrink_at = milliseconds(2000);  // in the ramp
  machine_.shrink = {.bytes = std::numeric_limits<std::uint64_t>::max(), .pause = seconds(1)};
  const v1::RunnerFinished finished = Run(Burst(70, seconds(2)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED);
  EXPECT_THAT(machine_.EventsOf(v1::Event::TARGET_REACHED), SizeIs(1));
}

TEST_F(PressureEngineTest, AllocateFullTakesEverythingDownToTheFloor) {
  const v1::RunnerFinished finished = Run(AllocateFull(v1::AllocateFullPattern::FLOOR, seconds(3)));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_LE(machine_.highest_used_percent, 95.0);
  EXPECT_GT(machine_.highest_used_percent, 94.8);
  EXPECT_TRUE(finished.has_time_to_target());
  EXPECT_THAT(machine_.EventsOf(v1::Event::FLOOR_REACHED), SizeIs(1));
  const auto [from, to] = machine_.SpanOf(v1::Phase::HOLD);
  EXPECT_NEAR(base::ToSeconds(to - from), 3, 0.01);
  EXPECT_EQ(MovesIn(from, to), 0U);
}

TEST_F(PressureEngineTest, AllocateFullUntilOomIgnoresTheFloor) {
  machine_.refuse_above_held_bytes = 4096 * kMiB - 800 * kMiB;
  const v1::RunnerFinished finished = Run(AllocateFull(v1::AllocateFullPattern::OOM, seconds(1)));
  EXPECT_EQ(finished.outcome(), v1::ALLOCATION_FAILED);
  EXPECT_THAT(machine_.EventsOf(v1::Event::FLOOR_REACHED), SizeIs(0));
  EXPECT_GT(machine_.highest_used_percent, 99);
  EXPECT_FALSE(machine_.states.front().second.has_planned());
}

TEST_F(PressureEngineTest, ARefusedAllocationIsTheOutcomeAndTheDeviceIsStillObserved) {
  machine_.refuse_above_held_bytes = 300 * kMiB;
  const v1::RunnerFinished finished = Run(Burst(70, seconds(5)));
  EXPECT_EQ(finished.outcome(), v1::ALLOCATION_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("the kernel refused"));
  EXPECT_THAT(finished.message(), HasSubstr("300 MiB held"));
  EXPECT_EQ(finished.peak_held_bytes(), 300 * kMiB);
  ASSERT_THAT(machine_.EventsOf(v1::Event::ALLOCATION_REFUSED), SizeIs(1));
  EXPECT_GT(machine_.EventsOf(v1::Event::ALLOCATION_REFUSED)[0].value(), 0);
  EXPECT_THAT(machine_.PhaseKinds(),
              ElementsAre(v1::Phase::BASELINE, v1::Phase::RAMP, v1::Phase::RELEASE, v1::Phase::RECOVERY));
}

TEST_F(PressureEngineTest, GrowsInBoundedChunks) {
  machine_.fill_bytes_per_second = 100.0 * kGiB;
  Run(Burst(90, seconds(1)));
  EXPECT_LE(machine_.largest_growth, 16 * kMiB);  // a 256th of 4 GiB
}

TEST_F(PressureEngineTest, IsHeardOfTwentyTimesASecondWhileMemoryMovesAndOnceAtRest) {
  machine_.fill_bytes_per_second = 60.0 * kMiB;  // a slow device
  Run(Burst(40, seconds(10)));
  const auto largest_gap = [this](std::pair<nanoseconds, nanoseconds> span) {
    nanoseconds last = span.first;
    nanoseconds gap(0);
    for (const auto& [time, state] : machine_.states) {
      if (time < span.first || time > span.second) continue;
      gap = std::max(gap, time - last);
      last = time;
    }
    return gap;
  };
  EXPECT_LE(largest_gap(machine_.SpanOf(v1::Phase::RAMP)), milliseconds(50));
  EXPECT_LE(largest_gap(machine_.SpanOf(v1::Phase::HOLD)), milliseconds(1100));
  EXPECT_GE(largest_gap(machine_.SpanOf(v1::Phase::HOLD)), milliseconds(900));
  EXPECT_LE(largest_gap(machine_.SpanOf(v1::Phase::BASELINE)), milliseconds(1000));
}

TEST_F(PressureEngineTest, ThePlanBecomesExactOnceTheTargetIsReached) {
  Run(Burst(70, seconds(5)));
  const nanoseconds end = machine_.Now();
  const nanoseconds planned = base::FromProto(machine_.states.back().second.planned());
  EXPECT_NEAR(base::ToSeconds(planned), base::ToSeconds(end), 0.2);
  EXPECT_EQ(machine_.states.front().second.target_percent(), 0);
}

class CancelTest : public PressureEngineTest, public ::testing::WithParamInterface<int> {};

// In the baseline, in mid-fill, in the hold, in the recovery.
TEST_P(CancelTest, EndsPromptlyAndLeavesNothing) {
  machine_.stop_at = milliseconds(GetParam());
  const v1::RunnerFinished finished = Run(Burst(70, seconds(5)));
  EXPECT_EQ(finished.outcome(), v1::CANCELLED) << finished.message();
  EXPECT_LE(machine_.Now() - *machine_.stop_at, milliseconds(200));
  EXPECT_THAT(finished.message(), HasSubstr("asked to stop"));
}

INSTANTIATE_TEST_SUITE_P(Moments, CancelTest, ::testing::Values(0, 500, 1900, 5000, 8500));

TEST_F(PressureEngineTest, ABrokenGaugeEndsTheRun) {
  machine_.gauge_fails_at = seconds(2);
  const v1::RunnerFinished finished = Run(Burst(70, seconds(5)));
  EXPECT_EQ(finished.outcome(), v1::INVALID);
  EXPECT_THAT(finished.message(), HasSubstr("the gauge is broken"));
}

TEST_F(PressureEngineTest, AWorkloadWithoutAPatternIsInvalid) {
  EXPECT_EQ(Run(Workload()).outcome(), v1::INVALID);
  EXPECT_EQ(Run(Staircase(0, seconds(1), 3)).outcome(), v1::INVALID);
}

}  // namespace
}  // namespace ballast::pressure
