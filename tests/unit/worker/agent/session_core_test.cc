#include "worker/agent/session_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using Kind = SessionCore::Step::Kind;

class FakeRunTaker final : public RunTaker {
 public:
  void Assign(const v1::Assignment& assignment) override { assigned.push_back(assignment.run_id()); }
  void Cancel(const AttemptKey& key, v1::OutcomeKind outcome, const std::string&) override {
    cancelled.push_back(ToText(key) + " " + v1::OutcomeKind_Name(outcome));
  }
  [[nodiscard]] std::optional<AttemptKey> active() const override { return active_now; }

  std::vector<std::string> assigned;
  std::vector<std::string> cancelled;
  std::optional<AttemptKey> active_now;
};

class SessionCoreTest : public AgentFixture {
 protected:
  void SetUp() override {
    OpenSpool();
    core_ = std::make_unique<SessionCore>(
        SessionIdentity{.device_id = "dev-1", .labels = {{"class", "test"}}, .reconnect_max = seconds(30)},
        spool_.get(), &runs_, &clock_, 1);
  }

  v1::WorkerMessage Begin() { return core_->Begin(now_, {}); }
  void Welcome(nanoseconds heartbeat_interval = seconds(2)) {
    v1::CoordinatorMessage message;
    *message.mutable_welcome()->mutable_heartbeat_interval() = base::ToProto(heartbeat_interval);
    *message.mutable_welcome()->mutable_server_time() = base::ToProto(base::SystemTime(seconds(5000)));
    core_->Hear(now_, message);
  }
  // What is sent until there is nothing to send; records by their seq.
  std::vector<std::string> SendAll() {
    std::vector<std::string> sent;
    while (true) {
      SessionCore::Step step = core_->Next(now_);
      if (step.kind == Kind::kRecord) {
        const std::optional<v1::Record> record = reader_->Next();
        core_->RecordRead(record.has_value());
        if (record) sent.push_back("record " + std::to_string(record->seq()));
        continue;
      }
      if (step.kind != Kind::kSend) return sent;
      if (step.message.has_heartbeat()) {
        last_heartbeat_ = step.message.heartbeat();
        sent.emplace_back("heartbeat");
      }
      if (step.message.has_progress()) sent.emplace_back("progress");
      if (step.message.has_assignment_rejected())
        sent.push_back("refused " + step.message.assignment_rejected().run_id());
    }
  }
  void SpoolAttempt() {
    ASSERT_TRUE(spool_->Begin(key_, Started()).ok());
    ASSERT_TRUE(spool_->AppendChunk(key_, ChunkAt(milliseconds(0))).ok());
    ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
    Flush();
    reader_ = std::make_unique<SpoolReader>(spool_.get());
  }

  FakeRunTaker runs_;
  PeerClock clock_;
  std::unique_ptr<SessionCore> core_;
  std::unique_ptr<SpoolReader> reader_;
  nanoseconds now_ = seconds(100);
  v1::Heartbeat last_heartbeat_;
};

TEST_F(SessionCoreTest, TheHelloNamesWhatIsHeldTheActiveAttemptFirst) {
  SpoolAttempt();
  runs_.active_now = AttemptKey{"j-z.1", 2};
  const v1::WorkerMessage hello = Begin();
  EXPECT_EQ(hello.hello().device_id(), "dev-1");
  EXPECT_EQ(hello.hello().labels().at("class"), "test");
  ASSERT_EQ(hello.hello().held_attempts_size(), 2);
  EXPECT_EQ(hello.hello().held_attempts(0).run_id(), "j-z.1");
  EXPECT_TRUE(hello.hello().held_attempts(0).active());
  EXPECT_EQ(hello.hello().held_attempts(1).run_id(), key_.run_id);
  EXPECT_FALSE(hello.hello().held_attempts(1).active());
}

TEST_F(SessionCoreTest, NothingIsSaidBeforeTheWelcomeAndNotForEver) {
  SpoolAttempt();
  (void)Begin();
  EXPECT_EQ(core_->Next(now_).kind, Kind::kWait);
  EXPECT_EQ(core_->Next(now_).until, now_ + seconds(10));
  now_ += seconds(10);
  const SessionCore::Step step = core_->Next(now_);
  EXPECT_EQ(step.kind, Kind::kEnd);
  EXPECT_TRUE(absl::IsDeadlineExceeded(step.problem));
}

TEST_F(SessionCoreTest, AHeartbeatThenTheRecordsInOrderThenWhatIsNew) {
  SpoolAttempt();
  (void)Begin();
  Welcome();
  EXPECT_THAT(SendAll(), ElementsAre("heartbeat", "record 1", "record 2", "record 3"));
  EXPECT_GT(last_heartbeat_.spool_bytes(), 0U);
  EXPECT_EQ(core_->Next(now_).until, now_ + seconds(2));
  core_->RecordsWait();
  EXPECT_THAT(SendAll(), IsEmpty());
  now_ += seconds(2);
  EXPECT_THAT(SendAll(), ElementsAre("heartbeat"));
}

TEST_F(SessionCoreTest, AnAcknowledgementEndsWhatIsHeld) {
  SpoolAttempt();
  v1::CoordinatorMessage message;
  message.mutable_ack()->set_run_id(key_.run_id);
  message.mutable_ack()->set_attempt(key_.attempt);
  for (const std::uint64_t seq : {1U, 2U, 3U}) message.mutable_ack()->add_seqs(seq);
  CarryOut(message, &runs_, spool_.get());
  EXPECT_EQ(Begin().hello().held_attempts_size(), 0);
}

TEST_F(SessionCoreTest, WhatTheCoordinatorAsksForIsHandedOn) {
  v1::CoordinatorMessage message;
  message.mutable_assignment()->set_run_id("j-a.1");
  CarryOut(message, &runs_, spool_.get());
  message.mutable_cancel()->set_run_id("j-a.1");
  message.mutable_cancel()->set_attempt(1);
  message.mutable_cancel()->set_outcome(v1::TIMED_OUT);
  CarryOut(message, &runs_, spool_.get());
  EXPECT_THAT(runs_.assigned, ElementsAre("j-a.1"));
  EXPECT_THAT(runs_.cancelled, ElementsAre("j-a.1@1 TIMED_OUT"));
}

TEST_F(SessionCoreTest, RecordsThatNobodyKnowsAreSetAside) {
  SpoolAttempt();
  v1::CoordinatorMessage message;
  message.mutable_record_rejected()->set_run_id(key_.run_id);
  message.mutable_record_rejected()->set_attempt(key_.attempt);
  CarryOut(message, &runs_, spool_.get());
  EXPECT_THAT(runs_.cancelled, ElementsAre(ToText(key_) + " CANCELLED"));
  EXPECT_FALSE(spool_->Contains(key_));
}

TEST_F(SessionCoreTest, OnlyTheNewestProgressIsToldAndNothingWithoutASession) {
  v1::RunProgress progress;
  v1::AssignmentRejected rejected;
  rejected.set_run_id("j-b.1");
  core_->Tell(progress);
  core_->Tell(rejected);
  reader_ = std::make_unique<SpoolReader>(spool_.get());
  (void)Begin();
  Welcome();
  EXPECT_THAT(SendAll(), ElementsAre("heartbeat"));
  core_->Tell(progress);
  core_->Tell(progress);
  core_->Tell(rejected);
  EXPECT_THAT(SendAll(), ElementsAre("refused j-b.1", "progress"));
}

TEST_F(SessionCoreTest, AnEndThatWaitsForTheDiskIsStillToBeTold) {
  OpenSpool({.own_thread = false});
  core_ = std::make_unique<SessionCore>(SessionIdentity{.device_id = "dev-1"}, spool_.get(), &runs_, &clock_, 1);
  reader_ = std::make_unique<SpoolReader>(spool_.get());
  ASSERT_TRUE(spool_->Begin(key_, Started()).ok());
  const std::uint64_t first = 1;
  spool_->Acknowledge(key_, std::span(&first, 1));
  ASSERT_TRUE(spool_->Finish(key_, Finished()).ok());
  (void)Begin();
  Welcome();
  EXPECT_THAT(SendAll(), ElementsAre("heartbeat"));
  EXPECT_GT(last_heartbeat_.spool_bytes(), 0U) << "or the coordinator would take the attempt to be lost";
  ASSERT_TRUE(spool_->WriteQueued());
  core_->RecordsWait();
  EXPECT_THAT(SendAll(), ElementsAre("record 2"));
}

TEST_F(SessionCoreTest, TheCoordinatorsClockIsAskedForAndKept) {
  reader_ = std::make_unique<SpoolReader>(spool_.get());
  (void)Begin();
  now_ += seconds(4);  // the welcome waited for a disk
  Welcome();
  EXPECT_EQ(clock_.OffsetAt(base::SystemTime(now_), now_)->error().seconds(), 2);
  (void)SendAll();
  ASSERT_NE(last_heartbeat_.clock_probe(), 0U);
  v1::CoordinatorMessage message;
  message.mutable_clock_reading()->set_clock_probe(last_heartbeat_.clock_probe());
  *message.mutable_clock_reading()->mutable_time() = base::ToProto(base::SystemTime(seconds(5002)));
  now_ += milliseconds(10);
  core_->Hear(now_, message);
  EXPECT_EQ(clock_.OffsetAt(base::SystemTime(now_), now_)->error().nanos(), 5'000'000);
  now_ += seconds(2);
  (void)SendAll();
  EXPECT_EQ(last_heartbeat_.clock_probe(), 0U);
  now_ += seconds(30);
  (void)SendAll();
  EXPECT_NE(last_heartbeat_.clock_probe(), 0U);
}

TEST_F(SessionCoreTest, ASessionThatWasWelcomedIsFollowedAtOnceARefusalIsNot) {
  (void)Begin();
  Welcome();
  EXPECT_EQ(core_->End(absl::UnavailableError("gone")), milliseconds(0));
  (void)Begin();
  EXPECT_GT(core_->End(absl::UnavailableError("gone")), milliseconds(0));
  (void)Begin();
  EXPECT_GE(core_->End(absl::AbortedError("another")), seconds(15));
  (void)Begin();
  Welcome();
  EXPECT_EQ(core_->End(absl::UnavailableError("gone")), milliseconds(0));
}

}  // namespace
}  // namespace ballast::agent
