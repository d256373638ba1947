#include "coordinator/core/scheduler.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SchedulerTest : public CoreTest {
 protected:
  // A device connects, a job goes to it and starts.
  SessionId StartOne(const v1::JobSpec& spec) {
    const SessionId session = Connect("a");
    EXPECT_TRUE(Submit(spec).ok());
    Started(session, "j-1.1");
    (void)Said(session);
    return session;
  }
};

TEST_F(SchedulerTest, OneRunAtATimeOnADeviceInOrderOfSubmission) {
  const SessionId a = Connect("a");
  const SessionId b = Connect("b");
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(Submit(Spec()).ok());
  EXPECT_THAT(Said(a), ElementsAre("welcome", "assign j-1.1/1"));
  EXPECT_THAT(Said(b), ElementsAre("welcome", "assign j-1.2/1"));
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  EXPECT_EQ(Device("a").active_run_id(), "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::QUEUED);
  Started(a, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  Finished(a, "j-1.1");
  EXPECT_THAT(Said(a), ElementsAre("ack j-1.1/1 1", "assign j-2.1/1", "ack j-1.1/1 2"));
  EXPECT_THAT(Said(b), IsEmpty());
  Started(a, "j-2.1");
  Finished(a, "j-2.1");
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  EXPECT_EQ(Device("a").active_run_id(), "");
}

TEST_F(SchedulerTest, HigherPriorityGoesFirst) {
  const SessionId a = Connect("a");
  v1::JobSpec low = Spec();
  low.set_priority(-5);
  v1::JobSpec high = Spec();
  high.set_priority(5);
  ASSERT_TRUE(Submit(Spec()).ok());  // takes the device
  ASSERT_TRUE(Submit(low).ok());
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(Submit(high).ok());
  ASSERT_TRUE(Submit(Spec()).ok());
  std::vector<std::string> order;
  for (int i = 0; i < 5; ++i) {
    const std::string run_id = Device("a").active_run_id();
    order.push_back(run_id);
    Started(a, run_id);
    Finished(a, run_id);
  }
  EXPECT_THAT(order, ElementsAre("j-1.1", "j-4.1", "j-3.1", "j-5.1", "j-2.1"));
}

TEST_F(SchedulerTest, ADeviceThatConnectsLaterGetsWhatWaitsForIt) {
  const SessionId first = Connect("a");
  Disconnect(first);
  ASSERT_TRUE(Submit(Spec()).ok());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  const SessionId again = Connect("a");
  EXPECT_THAT(Said(again), ElementsAre("welcome", "assign j-1.1/1"));
}

TEST_F(SchedulerTest, AssignmentsCarryTheWholeSpecification) {
  const SessionId session = Connect("a");
  const v1::JobSpec spec = Spec();
  ASSERT_TRUE(Submit(spec).ok());
  ASSERT_EQ(messages_[session].size(), 2U);
  EXPECT_EQ(messages_[session][1].assignment().spec().SerializeAsString(), spec.SerializeAsString());
}

TEST_F(SchedulerTest, ASilentDeviceIsOfflineButKeepsItsRunUntilTheLeaseEnds) {
  const SessionId session = StartOne(Spec());
  const base::SystemTime heard = now_.wall;
  AdvanceTicking(seconds(20));
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(base::FromProto(Run("j-1.1").lease_expire_time()), heard + hours(1));
  // Any word brings it back.
  Heartbeat(session, "j-1.1", 1);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  Finished(session, "j-1.1");
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
}

TEST_F(SchedulerTest, ADeviceOutOfContactLosesItsRunWithTheLease) {
  const SessionId session = StartOne(Spec());
  Disconnect(session);
  AdvanceTicking(minutes(59));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  AdvanceTicking(minutes(2));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ENDED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  EXPECT_THAT(Run("j-1.1").outcome().message(), HasSubstr("out of contact"));
  EXPECT_TRUE(Run("j-1.1").attempts(0).given_up());
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
}

TEST_F(SchedulerTest, LeasesRenewThemselvesWhileTheDeviceIsHeard) {
  const SessionId session = StartOne(Spec());
  for (int i = 0; i < 180; ++i) {
    AdvanceTicking(seconds(14));
    Heartbeat(session, "j-1.1", 1);
  }
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  // What is stored follows in coarse steps; it is never behind by more than half the term.
  EXPECT_GT(base::FromProto(Run("j-1.1").lease_expire_time()), now_.wall + minutes(29));
}

TEST_F(SchedulerTest, ShortLeasesWaitUntilSilenceCounts) {
  v1::JobSpec spec = Spec();
  *spec.mutable_policy()->mutable_lost_after() = base::ToProto(seconds(1));
  const SessionId session = StartOne(spec);
  AdvanceTicking(seconds(14));
  Heartbeat(session, "j-1.1", 1);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  AdvanceTicking(seconds(16));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
}

TEST_F(SchedulerTest, TheOriginalAttemptIsNotEndedForAnotherRunThatItsDeviceHasNotBegun) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(2);
  v1::JobSpec urgent = Spec();
  urgent.set_priority(5);
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(spec).ok());
  ASSERT_TRUE(Submit(urgent).ok());
  AdvanceTicking(minutes(61));  // silent, not gone: the start stands behind a partition
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  (void)Said(session);
  Heartbeat(session);  // from before the run began
  EXPECT_THAT(Said(session), ElementsAre("assign j-2.1/1"));
  Heartbeat(session, "j-1.1", 1);
  EXPECT_THAT(Said(session), IsEmpty());
  Refuse(session, "j-2.1", v1::OUTCOME_KIND_UNSPECIFIED);  // busy
  Heartbeat(session, "j-1.1", 1);
  Started(session, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
}

TEST_F(SchedulerTest, TimeInWhichTheCoordinatorCouldNotHearIsForgiven) {
  v1::JobSpec spec = Spec();
  *spec.mutable_policy()->mutable_lost_after() = base::ToProto(seconds(30));
  *spec.mutable_policy()->mutable_timeout() = base::ToProto(seconds(10));
  const SessionId session = StartOne(spec);
  Advance(minutes(10));  // a disk that took nothing; the worker's messages stand behind it
  core_->ForgiveSilence(now_, minutes(10));
  AdvanceTicking(seconds(14));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  EXPECT_THAT(Said(session), IsEmpty());
  AdvanceTicking(seconds(17));  // now it is the device that is silent
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
}

TEST_F(SchedulerTest, NoMoreIsForgivenThanThereIs) {
  const SessionId session = StartOne(Spec());
  Advance(seconds(5));
  core_->ForgiveSilence(now_, minutes(10));
  AdvanceTicking(seconds(16));
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
  Heartbeat(session, "j-1.1", 1);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
}

TEST_F(SchedulerTest, ASetClockExpiresNothing) {
  const SessionId session = StartOne(Spec());
  now_.wall += hours(48);
  core_->Tick(now_, &actions_);
  Settle();
  Heartbeat(session, "j-1.1", 1);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
}

TEST_F(SchedulerTest, OnlyFailuresOfTheInfrastructureGetAnotherAttempt) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(3);
  for (int kind = v1::COMPLETED; kind <= v1::INVALID; ++kind) {
    const SessionId session = Connect("a");
    const std::string run_id = Submit(spec)->job_id() + ".1";
    Started(session, run_id);
    Finished(session, run_id, static_cast<v1::OutcomeKind>(kind));
    const bool retried = kind == v1::WORKER_CRASHED || kind == v1::DEVICE_REBOOTED;
    EXPECT_EQ(Run(run_id).state(), retried ? v1::Run::ASSIGNED : v1::Run::ENDED)
        << v1::OutcomeKind_Name(static_cast<v1::OutcomeKind>(kind));
    EXPECT_EQ(Run(run_id).attempts_size(), retried ? 2 : 1);
    if (retried) {
      Started(session, run_id, 2);
      Finished(session, run_id, v1::COMPLETED, 2, 2);
    }
    EXPECT_EQ(Run(run_id).state(), v1::Run::ENDED);
  }
}

TEST_F(SchedulerTest, AttemptsEndWithThePolicysNumber) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(2);
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(spec).ok());
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    Started(session, "j-1.1", attempt);
    Finished(session, "j-1.1", v1::DEVICE_REBOOTED, 2, attempt);
  }
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_REBOOTED);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 2);
}

TEST_F(SchedulerTest, ADeviceLostBeforeTheStartGetsAnotherAttemptLaterOn) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(2);
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(spec).ok());
  Disconnect(session);
  AdvanceTicking(minutes(61));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  const SessionId again = Connect("a");
  EXPECT_THAT(Said(again), ElementsAre("welcome", "assign j-1.1/2"));
}

TEST_F(SchedulerTest, TheOriginalAttemptWinsOverAReplacementThatDidNotBegin) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(2);
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(spec).ok());
  Disconnect(session);
  AdvanceTicking(minutes(61));
  ASSERT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  const SessionId again = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(again), ElementsAre("welcome"));
  EXPECT_EQ(Device("a").active_run_id(), "j-1.1");
  Started(again, "j-1.1");
  Finished(again, "j-1.1");
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
  EXPECT_FALSE(Run("j-1.1").attempts(0).given_up());
}

TEST_F(SchedulerTest, TheTimeoutIsTheWorkersBusinessAndThenOurs) {
  v1::JobSpec spec = Spec();
  *spec.mutable_policy()->mutable_timeout() = base::ToProto(minutes(1));
  const SessionId session = StartOne(spec);
  const auto pass = [&](int times) {
    for (int i = 0; i < times; ++i) {
      AdvanceTicking(seconds(10));
      Heartbeat(session, "j-1.1", 1);
    }
  };
  pass(17);
  EXPECT_THAT(Said(session), IsEmpty());
  pass(2);
  EXPECT_THAT(Said(session), ElementsAre("cancel j-1.1/1 TIMED_OUT"));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  pass(12);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::TIMED_OUT);
  // The worker is still at it: nothing new for it until it says otherwise.
  ASSERT_TRUE(Submit(Spec()).ok());
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::QUEUED);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  Heartbeat(session);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::ASSIGNED);
}

TEST_F(SchedulerTest, AnAssignmentThatLeavesNoTraceIsRepeatedAFewTimesAndThenGivenUp) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(2);
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(spec).ok());
  ASSERT_TRUE(Submit(Spec()).ok());
  const auto pass = [&] {
    for (int i = 0; i < 12; ++i) {
      AdvanceTicking(seconds(11));
      Heartbeat(session);
    }
  };
  pass();
  // The next attempt has a number that the worker cannot know yet.
  EXPECT_THAT(Said(session), ElementsAre("welcome", "assign j-1.1/1", "assign j-1.1/1", "assign j-1.1/1",
                                         "assign j-1.1/1", "assign j-1.1/2"));
  EXPECT_EQ(Run("j-1.1").attempts(0).result().outcome().kind(), v1::WORKER_CRASHED);
  pass();
  // The device is free for what comes next.
  EXPECT_THAT(Said(session), ElementsAre("assign j-1.1/2", "assign j-1.1/2", "assign j-1.1/2", "assign j-2.1/1"));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_THAT(Run("j-1.1").outcome().message(), HasSubstr("sent 4 times"));
}

TEST_F(SchedulerTest, ADeviceThatGoesOnWithACancelledRunIsToldAgainAndThenNotWaitedFor) {
  const SessionId session = StartOne(Spec());
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(Cancel("j-1").ok());
  EXPECT_THAT(Said(session), ElementsAre("cancel j-1.1/1 CANCELLED"));
  const auto pass = [&](int times) {
    for (int i = 0; i < times; ++i) {
      AdvanceTicking(seconds(10));
      Heartbeat(session, "j-1.1", 1);
    }
  };
  pass(2);
  EXPECT_THAT(Said(session), IsEmpty());
  pass(1);
  EXPECT_THAT(Said(session), ElementsAre("cancel j-1.1/1 CANCELLED"));
  pass(26);
  EXPECT_EQ(Said(session).size(), 8U);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  pass(1);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  EXPECT_THAT(Run("j-1.1").outcome().message(), HasSubstr("told 10 times"));
  EXPECT_EQ(Job("j-1").state(), v1::Job::CANCELLED);
  // The worker is still at it: nothing new for it until it says otherwise.
  pass(1);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::QUEUED);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  Heartbeat(session);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::ASSIGNED);
}

TEST_F(SchedulerTest, ACancelledRunWhoseRecordsAreStillOnTheirWayIsWaitedFor) {
  const SessionId session = StartOne(Spec());
  ASSERT_TRUE(Cancel("j-1").ok());
  for (int i = 0; i < 60; ++i) {
    AdvanceTicking(seconds(10));
    Heartbeat(session, "", 0, 4096);
  }
  Finished(session, "j-1.1", v1::COMPLETED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
}

TEST_F(SchedulerTest, ARunThatEndedWhileItsDeviceWasAwayDidNotTakeTooLong) {
  v1::JobSpec spec = Spec();
  *spec.mutable_policy()->mutable_timeout() = base::ToProto(seconds(10));
  Disconnect(StartOne(spec));
  AdvanceTicking(minutes(20));
  const SessionId again = Connect("a", {}, {}, {{"j-1.1", 1}});
  AdvanceTicking(seconds(1));
  Heartbeat(again, "", 0, 4096);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  Finished(again, "j-1.1");
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
}

TEST_F(SchedulerTest, WithoutATimeoutARunMayGoOnForEver) {
  const SessionId session = StartOne(Spec());
  for (int i = 0; i < 1000; ++i) {
    Advance(minutes(59));
    Heartbeat(session, "j-1.1", 1);
  }
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
}

TEST_F(SchedulerTest, ARunTheDeviceCannotDoEndsThere) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Refuse(session, "j-1.1", v1::ENVIRONMENT_REFUSED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::ENVIRONMENT_REFUSED);
  EXPECT_EQ(Run("j-1.1").outcome().message(), "because");
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
}

TEST_F(SchedulerTest, ABusyDeviceGetsTheRunWhenItIsFree) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  (void)Said(session);
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 0);
  EXPECT_THAT(Said(session), IsEmpty());
  Heartbeat(session);
  EXPECT_THAT(Said(session), ElementsAre("assign j-1.1/1"));
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  AdvanceTicking(seconds(11));
  EXPECT_THAT(Said(session), ElementsAre("assign j-1.1/1"));
}

TEST_F(SchedulerTest, ARefusalAnswersOneSendingOnly) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  AdvanceTicking(seconds(31));  // the refusal is late, and the assignment is sent again
  Heartbeat(session);
  EXPECT_THAT(Said(session), ElementsAre("welcome", "assign j-1.1/1", "assign j-1.1/1"));
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);  // the second may be carried out
  Started(session, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
}

TEST_F(SchedulerTest, ARunWhoseEverySendingWasRefusedWaitsAgain) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  AdvanceTicking(seconds(31));
  Heartbeat(session);
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 0);
}

TEST_F(SchedulerTest, ABusyDevicesRefusalOfACancelledRunEndsIt) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(Cancel("j-1").ok());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
  Refuse(session, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::CANCELLED);
}

TEST_F(SchedulerTest, ARefusalOfARunThatHasBegunIsIgnored) {
  const SessionId session = StartOne(Spec());
  Refuse(session, "j-1.1", v1::INVALID);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
}

TEST_F(SchedulerTest, ALeaseThatEndsInASilentSessionIsToldToTheWorker) {
  const SessionId session = StartOne(Spec());
  AdvanceTicking(minutes(61));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  EXPECT_THAT(Said(session), ElementsAre("cancel j-1.1/1 DEVICE_LOST"));
  ASSERT_TRUE(Submit(Spec()).ok());
  Chunk(session, "j-1.1", 2);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::QUEUED);
  Heartbeat(session);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::ASSIGNED);
}

}  // namespace
}  // namespace ballast::core
