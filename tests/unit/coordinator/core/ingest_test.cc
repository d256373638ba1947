#include "coordinator/core/ingest.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class IngestTest : public CoreTest {
 protected:
  void SetUp() override {
    session_ = Connect("a");
    ASSERT_TRUE(Submit(Spec()).ok());
    (void)Said(session_);
  }

  void Answer(const std::string& run_id) {
    core_->RunLoaded(now_, run_id,
                     kept_.runs.contains(run_id) ? absl::StatusOr<v1::Run>(Run(run_id)) : absl::NotFoundError("no run"),
                     &actions_);
    Settle();
  }

  SessionId session_ = 0;
};

TEST_F(IngestTest, TheLogOfAnAttemptBecomesTheRun) {
  Started(session_, "j-1.1");
  Chunk(session_, "j-1.1", 2);
  Finished(session_, "j-1.1", v1::OOM_KILLED, 3);
  EXPECT_THAT(Said(session_), ElementsAre("ack j-1.1/1 1", "ack j-1.1/1 2", "ack j-1.1/1 3"));
  const v1::Run& run = Run("j-1.1");
  EXPECT_EQ(run.state(), v1::Run::ENDED);
  EXPECT_EQ(run.outcome().kind(), v1::OOM_KILLED);
  EXPECT_EQ(run.attempts(0).boot_id(), "boot");
  EXPECT_EQ(run.attempts(0).result().phases_size(), 1);
  const v1::Evidence& evidence = run.attempts(0).result().outcome().evidence();
  EXPECT_EQ(evidence.last_samples().offset_ms_size(), 1);
  EXPECT_EQ(evidence.kernel_log_size(), 1);
  EXPECT_TRUE(run.outcome().has_evidence());
  EXPECT_FALSE(run.outcome().evidence().has_last_samples()) << "once is enough";
  EXPECT_EQ(run.outcome().evidence().kernel_log_size(), 0);
  EXPECT_TRUE(run.has_start_time());
  EXPECT_TRUE(run.has_end_time());
  EXPECT_FALSE(run.has_lease_expire_time());
  EXPECT_EQ(kept_.chunks.size(), 1U);
}

TEST_F(IngestTest, TheOffsetOfTheDevicesClockIsKeptWithTheAttempt) {
  v1::WorkerMessage message = RecordMessage("j-1.1", 1, 1);
  message.mutable_record()->mutable_started()->mutable_clock_offset()->mutable_offset()->set_seconds(40);
  Send(session_, message);
  EXPECT_EQ(Run("j-1.1").attempts(0).clock_offset().offset().seconds(), 40);
  message = RecordMessage("j-1.1", 1, 2);
  message.mutable_record()->mutable_finished()->mutable_clock_offset()->mutable_offset()->set_seconds(41);
  Send(session_, message);
  EXPECT_EQ(Run("j-1.1").attempts(0).clock_offset().offset().seconds(), 41);
}

TEST_F(IngestTest, RecordsInARowAreAcknowledgedTogether) {
  for (std::uint64_t seq = 2; seq <= 5; ++seq) {
    v1::WorkerMessage message = RecordMessage("j-1.1", 1, seq);
    message.mutable_record()->mutable_chunk();
    core_->Receive(now_, session_, message, &actions_);
  }
  Settle();
  EXPECT_THAT(Said(session_), ElementsAre("ack j-1.1/1 2,3,4,5"));
}

TEST_F(IngestTest, DuplicatesChangeNothingAndAreAcknowledged) {
  Started(session_, "j-1.1");
  Started(session_, "j-1.1");
  Chunk(session_, "j-1.1", 2);
  Chunk(session_, "j-1.1", 2);
  Finished(session_, "j-1.1", v1::COMPLETED, 3);
  (void)Said(session_);
  const std::string before = Run("j-1.1").SerializeAsString();
  Started(session_, "j-1.1");
  Chunk(session_, "j-1.1", 2);
  Finished(session_, "j-1.1", v1::OOM_KILLED, 3);
  EXPECT_THAT(Said(session_), ElementsAre("ack j-1.1/1 1", "ack j-1.1/1 2", "ack j-1.1/1 3"));
  EXPECT_EQ(Run("j-1.1").SerializeAsString(), before);
  EXPECT_EQ(kept_.chunks.size(), 1U);
  EXPECT_THAT(TakeLoads(), IsEmpty());
}

TEST_F(IngestTest, ALateBeginningIsKeptToo) {
  Disconnect(session_);
  AdvanceTicking(hours(2));
  ASSERT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  ASSERT_FALSE(Run("j-1.1").attempts(0).has_start_time());
  const SessionId again = Connect("a", {}, {}, {{"j-1.1", 1}});
  (void)Said(again);
  Started(again, "j-1.1");
  EXPECT_THAT(TakeLoads(), ElementsAre("j-1.1"));
  Answer("j-1.1");
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 1"));
  EXPECT_TRUE(Run("j-1.1").attempts(0).has_start_time());
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
}

TEST_F(IngestTest, ALateResultIsKeptAndTheOutcomeStays) {
  Started(session_, "j-1.1");
  Disconnect(session_);
  AdvanceTicking(hours(2));
  ASSERT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  const SessionId again = Connect("a", {}, {}, {{"j-1.1", 1}});
  (void)Said(again);
  Chunk(again, "j-1.1", 2);
  Finished(again, "j-1.1", v1::COMPLETED, 3);
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 2"));
  EXPECT_THAT(TakeLoads(), ElementsAre("j-1.1"));
  Answer("j-1.1");
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 3"));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
  ASSERT_EQ(Run("j-1.1").late_results_size(), 1);
  EXPECT_EQ(Run("j-1.1").late_results(0).result().outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(Run("j-1.1").late_results(0).result().phases_size(), 1);
  EXPECT_EQ(kept_.chunks.size(), 1U);
  // Once.
  Finished(again, "j-1.1", v1::COMPLETED, 3);
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 3"));
  EXPECT_THAT(TakeLoads(), IsEmpty());
}

TEST_F(IngestTest, ALateResultOfARunWhoseJobIsStillOpenLosesNothingOfTheRun) {
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec).ok());
  Started(session_, "j-1.1");
  Finished(session_, "j-1.1");
  Started(session_, "j-2.1");
  Disconnect(session_);
  AdvanceTicking(hours(2));
  const SessionId again = Connect("a", {}, {}, {{"j-2.1", 1}});
  Finished(again, "j-2.1", v1::COMPLETED, 3);
  // Twice in flight: read once, kept once.
  Finished(again, "j-2.1", v1::COMPLETED, 3);
  EXPECT_THAT(TakeLoads(), ElementsAre("j-2.1"));
  Answer("j-2.1");
  EXPECT_EQ(Run("j-2.1").late_results_size(), 1);
  EXPECT_EQ(Run("j-2.1").late_results(0).result().outcome().evidence().last_samples().offset_ms_size(), 1);
}

TEST_F(IngestTest, RecordsOfUnknownRunsAreRejected) {
  Chunk(session_, "j-nowhere.1", 1);
  EXPECT_THAT(Said(session_), IsEmpty());
  EXPECT_THAT(TakeLoads(), ElementsAre("j-nowhere.1"));
  Answer("j-nowhere.1");
  EXPECT_THAT(Said(session_), ElementsAre("reject j-nowhere.1/1"));
  EXPECT_THAT(kept_.chunks, IsEmpty());
}

TEST_F(IngestTest, RunsOfLongAgoAreReadFromTheStore) {
  Started(session_, "j-1.1");
  Finished(session_, "j-1.1");
  Restart();
  const SessionId again = Connect("a");
  (void)Said(again);
  Chunk(again, "j-1.1", 7);
  EXPECT_THAT(Said(again), IsEmpty());
  EXPECT_THAT(TakeLoads(), ElementsAre("j-1.1"));
  Answer("j-1.1");
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 7"));
  EXPECT_EQ(kept_.chunks.size(), 1U);
  // Now it is remembered.
  Finished(again, "j-1.1", v1::COMPLETED, 2);
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 2"));
  EXPECT_THAT(TakeLoads(), IsEmpty());
}

TEST_F(IngestTest, WhatWasForgottenIsUnknown) {
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->ForgetRun("j-1", "j-1.1", &actions_))) << "it has not ended";
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->ForgetJob("j-1", &actions_)));
  Started(session_, "j-1.1");
  Finished(session_, "j-1.1");
  (void)Said(session_);
  ASSERT_TRUE(core_->ForgetRun("j-1", "j-1.1", &actions_).ok());
  ASSERT_TRUE(core_->ForgetJob("j-1", &actions_).ok());
  Settle();
  EXPECT_FALSE(kept_.runs.contains("j-1.1"));
  EXPECT_FALSE(kept_.jobs.contains("j-1"));
  Chunk(session_, "j-1.1", 7);
  EXPECT_THAT(TakeLoads(), ElementsAre("j-1.1"));
  Answer("j-1.1");
  EXPECT_THAT(Said(session_), ElementsAre("reject j-1.1/1"));
}

TEST_F(IngestTest, ARunOfWhichRecordsWaitIsNotForgotten) {
  Started(session_, "j-1.1");
  Finished(session_, "j-1.1");
  Restart();
  const SessionId again = Connect("a");
  (void)Said(again);
  Chunk(again, "j-1.1", 7);  // waits for the run to be read
  EXPECT_TRUE(absl::IsUnavailable(core_->ForgetRun("j-1", "j-1.1", &actions_)));
  Answer("j-1.1");
  EXPECT_THAT(Said(again), ElementsAre("ack j-1.1/1 7"));
  EXPECT_TRUE(core_->ForgetRun("j-1", "j-1.1", &actions_).ok());
}

TEST_F(IngestTest, AForgottenRequestMakesANewJob) {
  Finished(session_, "j-1.1");
  ASSERT_TRUE(Submit(Spec(), "again").ok());
  Started(session_, "j-2.1");
  Finished(session_, "j-2.1");
  EXPECT_EQ(Submit(Spec(), "again")->job_id(), "j-2");
  ASSERT_TRUE(core_->ForgetRun("j-2", "j-2.1", &actions_).ok());
  ASSERT_TRUE(core_->ForgetJob("j-2", &actions_).ok());
  Settle();
  EXPECT_NE(Submit(Spec(), "again")->job_id(), "j-2");
}

TEST_F(IngestTest, AnAnswerForASessionThatIsGoneIsDropped) {
  Chunk(session_, "j-nowhere.1", 1);
  Disconnect(session_);
  Answer("j-nowhere.1");
  EXPECT_THAT(Said(session_), IsEmpty());
}

TEST_F(IngestTest, RejectsWhatCannotBelongToTheRun) {
  const SessionId other = Connect("b");
  (void)Said(other);
  Chunk(other, "j-1.1", 2);
  EXPECT_THAT(Said(other), ElementsAre("reject j-1.1/1"));
  Chunk(session_, "j-1.1", 2, 5);
  EXPECT_THAT(Said(session_), ElementsAre("reject j-1.1/5"));
  Send(session_, RecordMessage("j-1.1", 1, 2));  // no content
  Chunk(session_, "", 2);
  Chunk(session_, "j-1.1", 0);
  Chunk(session_, "j-1.1", std::uint64_t{1} << 63U);
  EXPECT_THAT(Said(session_), ElementsAre("reject j-1.1/1", "reject /1", "reject j-1.1/1", "reject j-1.1/1"));
  EXPECT_THAT(kept_.chunks, IsEmpty());
}

TEST_F(IngestTest, AnEndWithoutAnOutcomeIsInvalid) {
  Started(session_, "j-1.1");
  v1::WorkerMessage message = RecordMessage("j-1.1", 1, 2);
  message.mutable_record()->mutable_finished();
  Send(session_, message);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::INVALID);
}

TEST_F(IngestTest, ResultsOfEarlierAttemptsDoNotTouchTheLaterOnes) {
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(3);
  Finished(session_, "j-1.1");
  ASSERT_TRUE(Submit(spec).ok());
  Started(session_, "j-2.1");
  Disconnect(session_);
  // No trace: the attempt is given up, and a second one is made.
  const SessionId again = Connect("a");
  Heartbeat(again);
  EXPECT_THAT(Said(again), ElementsAre("welcome", "assign j-2.1/2"));
  Started(again, "j-2.1", 2);
  // The first turns up after all.
  Finished(again, "j-2.1", v1::COMPLETED, 5, 1);
  EXPECT_EQ(Run("j-2.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Run("j-2.1").late_results_size(), 1);
  Finished(again, "j-2.1", v1::OOM_KILLED, 2, 2);
  EXPECT_EQ(Run("j-2.1").outcome().kind(), v1::OOM_KILLED);
}

}  // namespace
}  // namespace ballast::core
