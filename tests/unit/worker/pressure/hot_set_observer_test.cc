#include "worker/pressure/hot_set_observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "common/base/clock.h"

namespace ballast::pressure {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class RecordingObserver final : public PressureObserver {
 public:
  void OnPhase(const v1::Phase& phase) override { phases.push_back(phase); }
  void OnEvent(const v1::Event& event) override { events.push_back(event); }
  void OnStep(const v1::Step& step) override { steps.push_back(step); }
  void OnState(const v1::RunnerState& state) override { states.push_back(state); }
  std::vector<v1::Phase> phases;
  std::vector<v1::Event> events;
  std::vector<v1::Step> steps;
  std::vector<v1::RunnerState> states;
};

class TestPacer final : public Pacer {
 public:
  nanoseconds Now() override { return now; }
  bool WaitUntil(nanoseconds deadline, const std::stop_token&) override {
    now = deadline;
    return true;
  }
  nanoseconds now = seconds(100);
};

class HotSetObserverTest : public ::testing::Test {
 protected:
  void TellState(seconds now, seconds last_round) {
    pacer_.now = now;
    report_.last_round = last_round;
    observer_.OnState({});
  }

  HotSetReport report_ = {.hot_bytes = 400U << 20U, .interval = seconds(1)};
  RecordingObserver inner_;
  TestPacer pacer_;
  HotSetObserver observer_{[this] { return report_; }, &pacer_, &inner_, seconds(90)};
};

TEST_F(HotSetObserverTest, PassesEverythingOn) {
  observer_.OnPhase({});
  observer_.OnEvent({});
  observer_.OnStep({});
  observer_.OnState({});
  EXPECT_EQ(inner_.phases.size(), 1U);
  EXPECT_EQ(inner_.events.size(), 1U);
  EXPECT_EQ(inner_.steps.size(), 1U);
  EXPECT_EQ(inner_.states.size(), 1U);
}

TEST_F(HotSetObserverTest, TellsWhenTouchingFallsBehindAndNotTooOften) {
  TellState(seconds(100), seconds(1));
  EXPECT_TRUE(inner_.events.empty());
  TellState(seconds(101), seconds(4));
  ASSERT_EQ(inner_.events.size(), 1U);
  EXPECT_EQ(inner_.events[0].kind(), v1::Event::LAGGED);
  EXPECT_EQ(inner_.events[0].value(), 300U << 20U);
  EXPECT_EQ(base::FromProto(inner_.events[0].offset()), seconds(11));
  EXPECT_THAT(inner_.events[0].message(), HasSubstr("400 MiB of the hot set takes 4.0 s, not 1.0 s"));
  TellState(seconds(102), seconds(4));
  TellState(seconds(103), seconds(1));
  TellState(seconds(104), seconds(5));
  EXPECT_EQ(inner_.events.size(), 1U) << "within ten seconds";
  TellState(seconds(112), seconds(1));
  TellState(seconds(113), seconds(5));
  EXPECT_EQ(inner_.events.size(), 2U);
}

}  // namespace
}  // namespace ballast::pressure
