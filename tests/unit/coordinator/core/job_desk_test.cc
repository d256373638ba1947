#include "coordinator/core/job_desk.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JobDeskTest : public CoreTest {};

TEST_F(JobDeskTest, ExpandsIntoRunsInterleavedOverDevices) {
  Connect("a");
  Connect("b");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  (*spec.mutable_annotations())["build"] = "7";
  const absl::StatusOr<v1::Job> job = Submit(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->run_count(), 4U);
  EXPECT_EQ(job->submitter(), "somebody");
  EXPECT_EQ(job->state(), v1::Job::QUEUED);
  std::vector<std::string> order;
  for (int n = 1; n <= 4; ++n) {
    const v1::Run& run = Run("j-1." + std::to_string(n));
    order.push_back(run.device_id() + std::to_string(run.repetition()));
    EXPECT_EQ(run.workload_kind(), "pressure");
    EXPECT_EQ(run.annotations().at("build"), "7");
  }
  EXPECT_THAT(order, ElementsAre("a1", "b1", "a2", "b2"));
}

TEST_F(JobDeskTest, RefusesMoreRunsThanOneTransactionTakes) {
  for (int i = 0; i < 11; ++i) Connect("d" + std::to_string(i));
  v1::JobSpec spec = Spec();
  spec.set_repetitions(10'000);
  EXPECT_EQ(Submit(spec).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(kept_.jobs, IsEmpty());
}

TEST_F(JobDeskTest, RefusesAnnotationsThatAreTooManyOrTooLong) {
  Connect("a");
  const auto refusal = [&](const std::map<std::string, std::string>& annotations) {
    v1::JobSpec spec = Spec();
    for (const auto& [key, value] : annotations) (*spec.mutable_annotations())[key] = value;
    const absl::Status status = Submit(spec).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal({{"build", std::string(257, 'x')}}), HasSubstr("'build'"));
  EXPECT_THAT(refusal({{std::string(129, 'k'), "x"}}), HasSubstr("'kkk"));
  EXPECT_THAT(refusal({{"", "x"}}), HasSubstr("''"));
  std::map<std::string, std::string> many;
  for (int i = 0; i < 32; ++i) many["k" + std::to_string(i)] = std::string(256, 'x');
  v1::JobSpec spec = Spec();
  for (const auto& [key, value] : many) (*spec.mutable_annotations())[key] = value;
  EXPECT_TRUE(Submit(spec).ok());
  many[std::string(128, 'k')] = "x";
  EXPECT_THAT(refusal(many), HasSubstr("33"));
}

TEST_F(JobDeskTest, TheSameRequestGivesTheSameJob) {
  const SessionId session = Connect("a");
  EXPECT_EQ(Submit(Spec(), "r-1")->job_id(), "j-1");
  EXPECT_EQ(Submit(Spec(), "r-1")->job_id(), "j-1");
  EXPECT_EQ(Submit(Spec(), "r-2")->job_id(), "j-3");
  EXPECT_EQ(Submit(Spec())->job_id(), "j-4");
  EXPECT_EQ(Submit(Spec())->job_id(), "j-5");
  // Also after it has ended.
  Started(session, "j-1.1");
  Finished(session, "j-1.1");
  const absl::StatusOr<v1::Job> again = Submit(Spec(), "r-1");
  EXPECT_EQ(again->job_id(), "j-1");
  EXPECT_EQ(again->state(), v1::Job::FINISHED);
  EXPECT_EQ(kept_.jobs.size(), 4U);
  // Identifiers are everybody's to choose.
  const absl::Status others = Submit(Spec(), "r-1", "somebody else").status();
  EXPECT_EQ(others.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(others.message()), HasSubstr("request_id 'r-1' is that of job j-1"));
  EXPECT_EQ(kept_.jobs.size(), 4U);
}

TEST_F(JobDeskTest, ARefusedJobLeavesNothing) {
  v1::JobSpec spec = Spec();
  EXPECT_EQ(Submit(spec, "r").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(kept_.jobs, IsEmpty());
  Connect("a");
  EXPECT_TRUE(Submit(spec, "r").ok());
}

TEST_F(JobDeskTest, CancellingEndsWaitingRunsAtOnceAndAsksTheDeviceForTheOther) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(3);
  ASSERT_TRUE(Submit(spec).ok());
  Started(session, "j-1.1");
  (void)Said(session);
  const absl::StatusOr<v1::Job> job = Cancel("j-1");
  ASSERT_TRUE(job.ok());
  EXPECT_TRUE(job->cancel_requested());
  EXPECT_EQ(job->state(), v1::Job::RUNNING);
  EXPECT_THAT(Said(session), ElementsAre("cancel j-1.1/1 CANCELLED"));
  EXPECT_EQ(Run("j-1.2").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Run("j-1.3").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  Finished(session, "j-1.1", v1::CANCELLED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::CANCELLED);
  EXPECT_EQ(Job("j-1").ended_run_count(), 3U);
  EXPECT_EQ(Job("j-1").expected_run_count(), 0U);
  // Cancelling what has ended changes nothing.
  EXPECT_EQ(Cancel("j-1")->state(), v1::Job::CANCELLED);
  EXPECT_EQ(Cancel("j-9").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobDeskTest, ARunThatEndsByItselfWhileItIsCancelledKeepsItsOutcome) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(session, "j-1.1");
  ASSERT_TRUE(Cancel("j-1").ok());
  Finished(session, "j-1.1", v1::COMPLETED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::CANCELLED);
}

TEST_F(JobDeskTest, ACancelledRunGetsNoFurtherAttempt) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.mutable_policy()->set_max_attempts(3);
  ASSERT_TRUE(Submit(spec).ok());
  Started(session, "j-1.1");
  ASSERT_TRUE(Cancel("j-1").ok());
  Finished(session, "j-1.1", v1::WORKER_CRASHED);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ENDED);
  EXPECT_EQ(Run("j-1.1").attempts_size(), 1);
}

TEST_F(JobDeskTest, ACancelledRunOfAnOfflineDeviceEndsWhenItReturns) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(session, "j-1.1");
  Disconnect(session);
  ASSERT_TRUE(Cancel("j-1").ok());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  const SessionId again = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(again), ElementsAre("welcome", "cancel j-1.1/1 CANCELLED"));
  Finished(again, "j-1.1", v1::CANCELLED);
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
}

TEST_F(JobDeskTest, ACancelledRunThatNeverReachedItsDeviceEndsWhenTheDeviceReturns) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Disconnect(session);
  ASSERT_TRUE(Cancel("j-1").ok());
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::ASSIGNED);
  const SessionId again = Connect("a");
  Heartbeat(again);
  EXPECT_THAT(Said(again), ElementsAre("welcome"));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::CANCELLED);
}

TEST_F(JobDeskTest, ACancelledRunOfAnOfflineDeviceEndsWithItsLease) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(session, "j-1.1");
  Disconnect(session);
  ASSERT_TRUE(Cancel("j-1").ok());
  AdvanceTicking(minutes(59));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  AdvanceTicking(minutes(2));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  // What the device brings later does not change it.
  const SessionId again = Connect("a", {}, {}, {{"j-1.1", 1}});
  Finished(again, "j-1.1", v1::COMPLETED);
  core_->RunLoaded(now_, "j-1.1", Run("j-1.1"), &actions_);
  Settle();
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::CANCELLED);
  EXPECT_EQ(Run("j-1.1").late_results_size(), 1);
}

TEST_F(JobDeskTest, WatchersGetTheStateAndThenEveryChange) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_THAT(TakePublished(), IsEmpty());
  const auto snapshot = core_->Watch(now_, "j-1");
  ASSERT_TRUE(snapshot.has_value());
  ASSERT_EQ(snapshot->size(), 3U);
  EXPECT_EQ((*snapshot)[0].job().job_id(), "j-1");
  EXPECT_EQ((*snapshot)[1].run().state(), v1::Run::ASSIGNED);
  EXPECT_EQ((*snapshot)[2].run().state(), v1::Run::QUEUED);
  Started(session, "j-1.1");
  EXPECT_THAT(TakePublished(), ElementsAre("j-1.1 RUNNING", "j-1 RUNNING"));
  v1::WorkerMessage progress;
  progress.mutable_progress()->set_run_id("j-1.1");
  progress.mutable_progress()->set_attempt(1);
  Send(session, progress);
  EXPECT_THAT(TakePublished(), ElementsAre("j-1.1 progress"));
  Finished(session, "j-1.1");
  EXPECT_THAT(TakePublished(), ElementsAre("j-1.1 ENDED", "j-1.2 ASSIGNED", "j-1 RUNNING"));
  Started(session, "j-1.2");
  (void)TakePublished();
  Finished(session, "j-1.2");
  EXPECT_THAT(TakePublished(), ElementsAre("j-1.2 ENDED", "j-1 FINISHED", "j-1 closed"));
  EXPECT_FALSE(core_->Watch(now_, "j-1").has_value());
}

TEST_F(JobDeskTest, NothingIsPublishedOnceTheLastWatcherHasGone) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(core_->Watch(now_, "j-1").has_value());
  ASSERT_TRUE(core_->Watch(now_, "j-1").has_value());
  core_->Unwatch("j-1");
  Started(session, "j-1.1");
  EXPECT_THAT(TakePublished(), ElementsAre("j-1.1 RUNNING", "j-1 RUNNING"));
  core_->Unwatch("j-1");
  Finished(session, "j-1.1");
  EXPECT_THAT(TakePublished(), ElementsAre("j-1 closed"));
}

TEST_F(JobDeskTest, CountsTheExpectedOutcome) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  spec.mutable_policy()->set_expect(v1::OOM_KILLED);
  ASSERT_TRUE(Submit(spec).ok());
  EXPECT_FALSE(Job("j-1").has_start_time());
  Started(session, "j-1.1");
  EXPECT_EQ(Job("j-1").state(), v1::Job::RUNNING);
  EXPECT_TRUE(Job("j-1").has_start_time());
  Finished(session, "j-1.1", v1::OOM_KILLED);
  EXPECT_FALSE(Job("j-1").has_end_time());
  Started(session, "j-1.2");
  Finished(session, "j-1.2", v1::COMPLETED);
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
  EXPECT_EQ(Job("j-1").ended_run_count(), 2U);
  EXPECT_EQ(Job("j-1").expected_run_count(), 1U);
  EXPECT_TRUE(Job("j-1").has_end_time());
}

}  // namespace
}  // namespace ballast::core
