#include "coordinator/core/session_desk.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SessionDeskTest : public CoreTest {};

TEST_F(SessionDeskTest, AWorkerIsRegisteredWithWhatItSays) {
  const SessionId session = Connect("a", {{"class", "small"}});
  EXPECT_THAT(Said(session), ElementsAre("welcome"));
  EXPECT_EQ(messages_[session][0].welcome().heartbeat_interval().seconds(), 2);
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  EXPECT_EQ(Device("a").facts().hostname(), "host-a");
  EXPECT_EQ(Device("a").labels().at("class"), "small");
  EXPECT_EQ(base::FromProto(Device("a").create_time()), now_.wall);
  const base::SystemTime created = now_.wall;
  Advance(seconds(5));
  Disconnect(session);
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
  EXPECT_EQ(base::FromProto(Device("a").state_time()), created + seconds(5));
  EXPECT_EQ(base::FromProto(Device("a").last_seen_time()), created);
  Connect("a", {{"site", "x"}});
  EXPECT_EQ(base::FromProto(Device("a").create_time()), created);
  EXPECT_FALSE(Device("a").labels().contains("class"));
}

TEST_F(SessionDeskTest, RefusesWorkersItCannotTalkTo) {
  v1::WorkerMessage message;
  message.mutable_hello()->set_device_id("a");
  message.mutable_hello()->set_protocol_version(2);
  Send(100, message);
  EXPECT_THAT(Said(100), ElementsAre("end FAILED_PRECONDITION"));
  message.mutable_hello()->set_protocol_version(1);
  for (const std::string& device_id : {std::string(), std::string("a b"), std::string("../x"), std::string(65, 'a')}) {
    message.mutable_hello()->set_device_id(device_id);
    Send(101, message);
    EXPECT_THAT(Said(101), ElementsAre("end INVALID_ARGUMENT")) << device_id;
  }
  message.mutable_hello()->set_device_id("a");
  (*message.mutable_hello()->mutable_labels())["a,b"] = "x";
  Send(102, message);
  EXPECT_THAT(Said(102), ElementsAre("end INVALID_ARGUMENT"));
  message.mutable_hello()->clear_labels();
  for (int i = 0; i < 65; ++i) (*message.mutable_hello()->mutable_labels())["l" + std::to_string(i)] = "x";
  Send(103, message);
  EXPECT_THAT(Said(103), ElementsAre("end INVALID_ARGUMENT"));
  message.mutable_hello()->clear_labels();
  message.mutable_hello()->mutable_facts()->set_hostname(std::string(65U << 10U, 'x'));
  Send(104, message);
  EXPECT_THAT(Said(104), ElementsAre("end INVALID_ARGUMENT"));
  EXPECT_THAT(kept_.devices, IsEmpty());
}

TEST_F(SessionDeskTest, AWorkerWhoseLabelsAreTooManyWithThoseOfUsersLeavesTheSessionThereIs) {
  std::map<std::string, std::string> labels;
  for (int i = 0; i < 63; ++i) labels["l" + std::to_string(i)] = "x";
  const SessionId first = Connect("a", labels);
  v1::LabelDeviceRequest request;
  request.set_device_id("a");
  (*request.mutable_set())["owner"] = "me";
  ASSERT_TRUE(core_->LabelDevice(now_, request, &actions_).ok());
  Settle();
  (void)Said(first);
  labels["one"] = "more";
  EXPECT_THAT(Said(Connect("a", labels)), ElementsAre("end INVALID_ARGUMENT"));
  EXPECT_THAT(Said(first), IsEmpty());
  EXPECT_EQ(Device("a").state(), v1::Device::READY);
  EXPECT_EQ(Device("a").labels().size(), 64U);
}

TEST_F(SessionDeskTest, ANewSessionEndsTheOldOneAndItsLateMessagesAreIgnored) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  (void)Said(first);
  const SessionId second = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(first), ElementsAre("end ABORTED"));
  EXPECT_THAT(Said(second), ElementsAre("welcome"));
  Started(first, "j-1.1");
  EXPECT_THAT(Said(first), IsEmpty());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
  // The end of the old stream does not take the device down.
  Disconnect(first);
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  Started(second, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
}

TEST_F(SessionDeskTest, ASecondHelloEndsTheSession) {
  const SessionId session = Connect("a");
  (void)Said(session);
  --next_session_;
  EXPECT_EQ(Connect("a"), session);
  EXPECT_THAT(Said(session), ElementsAre("end FAILED_PRECONDITION"));
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
}

TEST_F(SessionDeskTest, AnAssignmentThatGotLostIsSentAgain) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Disconnect(first);
  const SessionId second = Connect("a");
  EXPECT_THAT(Said(second), ElementsAre("welcome"));
  Heartbeat(second);
  EXPECT_THAT(Said(second), ElementsAre("assign j-1.1/1"));
  Heartbeat(second);
  EXPECT_THAT(Said(second), IsEmpty());
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
}

TEST_F(SessionDeskTest, AHelloThatComesAfterThatOfALaterSessionChangesNothing) {
  const SessionId later = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(later, "j-1.1");
  const SessionId late = Connect("a");  // its worker has left it before it began the run
  EXPECT_THAT(Said(late), ElementsAre("welcome"));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  Disconnect(late);
  const SessionId next = Connect("a", {}, {{"j-1.1", 1}});
  Heartbeat(next, "j-1.1", 1);
  EXPECT_THAT(Said(next), ElementsAre("welcome"));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
}

TEST_F(SessionDeskTest, ARunThatGoesOnIsLeftAlone) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(first, "j-1.1");
  Disconnect(first);
  AdvanceTicking(minutes(30));
  const SessionId second = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(second), ElementsAre("welcome"));
  AdvanceTicking(seconds(1));
  EXPECT_EQ(base::FromProto(Run("j-1.1").lease_expire_time()), now_.wall - seconds(1) + hours(1));
}

TEST_F(SessionDeskTest, RecordsThatAreStillToComeDecideARunThatIsNoLongerActive) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Disconnect(first);
  const SessionId second = Connect("a", {}, {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(second), ElementsAre("welcome"));
  Started(second, "j-1.1");
  Finished(second, "j-1.1", v1::OOM_KILLED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::OOM_KILLED);
}

TEST_F(SessionDeskTest, ARunThatBeganAndLeftNoTraceEndsAsCrashed) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(first, "j-1.1");
  Disconnect(first);
  Heartbeat(Connect("a"));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::WORKER_CRASHED);
  EXPECT_THAT(Run("j-1.1").outcome().message(), HasSubstr("data directory"));
}

TEST_F(SessionDeskTest, ARunThatTheCoordinatorClosedIsEndedOnItsDevice) {
  const SessionId first = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(first, "j-1.1");
  Disconnect(first);
  AdvanceTicking(hours(2));
  ASSERT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  ASSERT_TRUE(Submit(Spec()).ok());
  const SessionId second = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(second), ElementsAre("welcome", "cancel j-1.1/1 CANCELLED"));
  EXPECT_EQ(Device("a").state(), v1::Device::BUSY);
  // Nothing new until the old one is gone.
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::QUEUED);
  Heartbeat(second, "j-1.1", 1);
  EXPECT_THAT(Said(second), IsEmpty());
  Finished(second, "j-1.1", v1::CANCELLED, 9);
  EXPECT_THAT(Said(second), ElementsAre("assign j-2.1/1"));
  core_->RunLoaded(now_, "j-1.1", Run("j-1.1"), &actions_);
  Settle();
  EXPECT_THAT(Said(second), ElementsAre("ack j-1.1/1 9"));
}

class ReplacedOriginalTest : public CoreTest {
 protected:
  // The first attempt was given up before its start was heard, and the second is on its way.
  ReplacedOriginalTest() {
    v1::JobSpec spec = Spec();
    spec.mutable_policy()->set_max_attempts(2);
    session_ = Connect("a");
    EXPECT_TRUE(Submit(spec).ok());
    AdvanceTicking(minutes(61));
    Heartbeat(session_);
    EXPECT_THAT(Said(session_), ElementsAre("welcome", "assign j-1.1/1", "assign j-1.1/2"));
  }

  SessionId session_ = 0;
};

TEST_F(ReplacedOriginalTest, GoesOnWhenItsReplacementIsRefused) {
  Heartbeat(session_, "j-1.1", 1);
  EXPECT_THAT(Said(session_), IsEmpty());
  Refuse(session_, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED, 2);
  Heartbeat(session_, "j-1.1", 1);
  Started(session_, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
}

TEST_F(ReplacedOriginalTest, GoesOnWhenItsReplacementGotLost) {
  const SessionId next = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(next), ElementsAre("welcome"));
  Heartbeat(next, "j-1.1", 1);
  Started(next, "j-1.1");
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
}

TEST_F(ReplacedOriginalTest, IsEndedOnceItsJobIsCancelled) {
  Heartbeat(session_, "j-1.1", 1);
  ASSERT_TRUE(Cancel("j-1").ok());
  EXPECT_THAT(Said(session_), ElementsAre("cancel j-1.1/2 CANCELLED"));
  Heartbeat(session_, "j-1.1", 1);
  EXPECT_THAT(Said(session_), ElementsAre("cancel j-1.1/1 CANCELLED"));
  Heartbeat(session_, "j-1.1", 1);
  EXPECT_THAT(Said(session_), IsEmpty());
  Refuse(session_, "j-1.1", v1::OUTCOME_KIND_UNSPECIFIED, 2);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
}

TEST_F(SessionDeskTest, AnUnknownActiveRunIsEndedToo) {
  const SessionId session = Connect("a", {}, {{"j-elsewhere.1", 1}});
  EXPECT_THAT(Said(session), ElementsAre("welcome", "cancel j-elsewhere.1/1 CANCELLED"));
  ASSERT_TRUE(Submit(Spec()).ok());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::QUEUED);
  Heartbeat(session);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
}

TEST_F(SessionDeskTest, AHeartbeatOfBeforeTheAssignmentSaysNothingAboutIt) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  (void)Said(session);
  Heartbeat(session);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
  EXPECT_THAT(Said(session), IsEmpty());
}

TEST_F(SessionDeskTest, AnIdleWorkerWithNothingToSendIsAskedAgainForARunItShouldHave) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  (void)Said(session);
  for (int i = 0; i < 4; ++i) {
    AdvanceTicking(seconds(10));
    Heartbeat(session, "", 0, 4096);  // there is something left to send
  }
  EXPECT_THAT(Said(session), IsEmpty());
  Heartbeat(session);
  EXPECT_THAT(Said(session), ElementsAre("assign j-1.1/1"));
  Started(session, "j-1.1");
  for (int i = 0; i < 4; ++i) {
    AdvanceTicking(seconds(10));
    Heartbeat(session);
  }
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::WORKER_CRASHED);
}

TEST_F(SessionDeskTest, AHeartbeatMayAskForTheClock) {
  const SessionId session = Connect("a");
  Heartbeat(session);
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_clock_probe(7);
  messages_.clear();
  Send(session, message);
  ASSERT_EQ(messages_[session].size(), 1U);
  EXPECT_EQ(messages_[session][0].clock_reading().clock_probe(), 7U);
  EXPECT_EQ(base::FromProto(messages_[session][0].clock_reading().time()), now_.wall);
}

TEST_F(SessionDeskTest, ADeviceWhoseDiskTakesNothingSaysSo) {
  const SessionId session = Connect("a");
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_storage_problem("No space left on device");
  Send(session, message);
  EXPECT_EQ(Device("a").storage_problem(), "No space left on device");
  message.mutable_heartbeat()->set_storage_problem(std::string(100'000, 'x'));
  Send(session, std::move(message));
  EXPECT_EQ(Device("a").storage_problem().size(), 512);
  Heartbeat(session);
  EXPECT_EQ(Device("a").storage_problem(), "");
}

TEST_F(SessionDeskTest, ProgressOfOtherRunsIsDropped) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(core_->Watch(now_, "j-1").has_value());
  v1::WorkerMessage message;
  message.mutable_progress()->set_run_id("j-1.1");
  message.mutable_progress()->set_attempt(2);
  Send(session, message);
  message.mutable_progress()->set_run_id("j-2.1");
  message.mutable_progress()->set_attempt(1);
  Send(session, message);
  EXPECT_THAT(TakePublished(), IsEmpty());
}

}  // namespace
}  // namespace ballast::core
