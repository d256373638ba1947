#include "coordinator/core/wait_reasons.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class WaitReasonsTest : public CoreTest {
 protected:
  void SubmitAt(std::int32_t priority, std::uint32_t repetitions = 1) {
    v1::JobSpec spec = Spec();
    spec.set_priority(priority);
    spec.set_repetitions(repetitions);
    ASSERT_TRUE(Submit(spec).ok());
  }
};

// A priority that is being served has had its turn: what waits for a higher one is next.
TEST_F(WaitReasonsTest, ARunThatGoesOnDoesNotCountAsWaiting) {
  options_.scheduling.priority_step = seconds(20);
  Restart();
  const SessionId session = Connect("a");
  SubmitAt(1, 30);
  SubmitAt(0, 3);
  std::string low;
  for (int i = 1; low.empty(); ++i) {
    ASSERT_LT(i, 30);
    const std::string run_id = Device("a").active_run_id();
    Started(session, run_id);
    AdvanceTicking(seconds(10));
    Heartbeat(session, run_id, 1);
    if (run_id.starts_with("j-2")) low = run_id;
    if (low.empty()) Finished(session, run_id);
  }
  AdvanceTicking(seconds(10));
  Heartbeat(session, low, 1);
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre(HasSubstr("DEVICE_BUSY: device a carries out run " + low)));
  EXPECT_THAT(WaitsFor("j-2"), ElementsAre(HasSubstr("2 QUEUED_BEHIND: run j-1.")));
  Finished(session, low);
  EXPECT_THAT(Device("a").active_run_id(), HasSubstr("j-1."));
}

// A rest, or a full fleet, ends for the run that comes first, not for those behind it.
TEST_F(WaitReasonsTest, WhatGoesBeforeIsSaidBeforeWhatItWaitsForItself) {
  options_.scheduling.cool_down = seconds(30);
  options_.scheduling.max_parallel_runs = 1;
  Restart();
  const SessionId a = Connect("a");
  SubmitAt(0, 2);
  SubmitAt(0);
  Started(a, "j-1.1");
  Finished(a, "j-1.1");
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre(HasSubstr("1 DEVICE_COOLING_DOWN: device a rests")));
  EXPECT_THAT(WaitsFor("j-2"), ElementsAre("1 QUEUED_BEHIND: run j-1.2 of somebody goes before it on device a"));
  Connect("b");
  v1::JobSpec other = Spec();
  other.mutable_devices()->clear_all();
  other.mutable_devices()->add_device_ids("b");
  ASSERT_TRUE(Submit(other).ok());
  ASSERT_EQ(Device("b").active_run_id(), "j-3.1");
  AdvanceTicking(seconds(31));
  Heartbeat(a);
  EXPECT_THAT(WaitsFor("j-1"), ElementsAre(HasSubstr("1 FLEET_LIMIT")));
  EXPECT_THAT(WaitsFor("j-2"), ElementsAre(HasSubstr("1 QUEUED_BEHIND: run j-1.2")));
}

TEST_F(WaitReasonsTest, OfSeveralDevicesThoseCountThatItMayStillGoTo) {
  const SessionId a = Connect("a", {{"rack", "x"}});
  Connect("b");
  SubmitAt(5);
  v1::JobSpec spec = Spec();
  spec.mutable_devices()->clear_all();
  spec.mutable_devices()->set_count(2);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_THAT(WaitsFor("j-2"), ElementsAre("2 DEVICE_BUSY: of 2 devices that it may go to, 2 busy"));
  Started(a, "j-1.1");
  Finished(a, "j-1.1");
  EXPECT_THAT(WaitsFor("j-2"), ElementsAre(HasSubstr("1 DEVICE_BUSY: device b carries out run j-1.2")));
}

}  // namespace
}  // namespace ballast::core
