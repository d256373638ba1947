#include "worker/guard/guard_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/guard/fake_device.h"

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using testing::ElementsAre;

class GuardWatchTest : public ::testing::Test {
 protected:
  // Looks at once, and lets the time until the next look pass.
  nanoseconds Look() {
    const nanoseconds interval = watch_.Look(clock_.now) - clock_.now;
    clock_.now += interval;
    return interval;
  }

  FakeProc proc_;
  FakeClock clock_;
  FakeLoad load_;
  GuardWatch watch_{Thresholds{}, SignalReader::Open(proc_.root()).value(), &clock_, &load_, &load_};
};

TEST_F(GuardWatchTest, LooksSeldomWhenFarAndOftenWhenNear) {
  EXPECT_EQ(Look(), milliseconds(200));
  proc_.SetAvailableMib(400);  // 10 %, four times the minimum
  (void)Look();                // it fell fast
  EXPECT_EQ(Look(), milliseconds(60));
  proc_.SetAvailableMib(180);
  (void)Look();
  EXPECT_EQ(Look(), milliseconds(20));
}

TEST_F(GuardWatchTest, LooksOftenWhileMemoryGoesFast) {
  (void)Look();
  proc_.SetAvailableMib(1500);  // 500 MiB in 200 ms: 1400 more are left for 560 ms
  EXPECT_NEAR(std::chrono::duration<double>(Look()).count(), 0.140, 0.001);
  proc_.SetAvailableMib(600);
  EXPECT_EQ(Look(), milliseconds(20));
}

TEST_F(GuardWatchTest, LooksOftenWhileTasksStall) {
  for (int i = 0; i < 10; ++i) {
    proc_.SetStalls(static_cast<std::uint64_t>(i) * 20'000, static_cast<std::uint64_t>(i) * 20'000);
    (void)Look();
  }
  EXPECT_EQ(Look(), milliseconds(20));
}

TEST_F(GuardWatchTest, EachRungIsCarriedOutAndTold) {
  (void)Look();
  EXPECT_THAT(load_.told(), ElementsAre());
  proc_.SetAvailableMib(90);  // the minimum is 100
  (void)Look();
  EXPECT_THAT(load_.told(), ElementsAre("shrink 150"));
  for (int i = 0; i < 30; ++i) (void)Look();
  EXPECT_THAT(load_.told(), ElementsAre("shrink 150", "release"));
  for (int i = 0; i < 30; ++i) (void)Look();
  EXPECT_THAT(load_.told(), ElementsAre("shrink 150", "release", "kill"));
  ASSERT_EQ(load_.acts().size(), 3U);
  EXPECT_EQ(load_.acts()[2].action, v1::GuardAct::KILLED);
}

TEST_F(GuardWatchTest, ALateLookIsAReading) {
  (void)Look();
  proc_.SetStalls(2'000'000, 2'000'000);
  const nanoseconds planned = clock_.now;
  clock_.now += milliseconds(1500);
  (void)watch_.Look(planned);
  ASSERT_EQ(load_.acts().size(), 1U);
  EXPECT_EQ(load_.acts()[0].signal, v1::GuardAct::AGENT_DELAY);
  EXPECT_EQ(load_.acts()[0].value, 1500);
}

TEST_F(GuardWatchTest, ALoadThatIsGoneIsLeftAlone) {
  load_.SetHeld(std::nullopt);
  proc_.SetAvailableMib(1);
  for (int i = 0; i < 100; ++i) (void)Look();
  EXPECT_THAT(load_.told(), ElementsAre());
}

}  // namespace
}  // namespace ballast::guard
