#include "coordinator/core/core.h"

#include "gmock/gmock.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RestoreTest : public CoreTest {};

TEST_F(RestoreTest, AFullQueueSurvivesARestart) {
  const SessionId session = Connect("a");
  v1::JobSpec high = Spec();
  high.set_priority(1);
  v1::JobSpec twice = Spec();
  twice.set_repetitions(2);
  ASSERT_TRUE(Submit(twice).ok());
  ASSERT_TRUE(Submit(Spec()).ok());
  ASSERT_TRUE(Submit(high, "r").ok());
  Started(session, "j-1.1");
  Restart();
  EXPECT_EQ(Device("a").state(), v1::Device::OFFLINE);
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  EXPECT_EQ(Submit(high, "r")->job_id(), "j-3");
  const SessionId again = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(again), ElementsAre("welcome"));
  std::vector<std::string> order;
  for (int i = 0; i < 4; ++i) {
    const std::string run_id = Device("a").active_run_id();
    order.push_back(run_id);
    Started(again, run_id);
    Finished(again, run_id);
  }
  EXPECT_THAT(order, ElementsAre("j-1.1", "j-3.1", "j-1.2", "j-2.1"));
  for (const auto& [job_id, job] : kept_.jobs) EXPECT_EQ(job.state(), v1::Job::FINISHED) << job_id;
}

TEST_F(RestoreTest, ACoordinatorThatWasAwayForLongGivesDevicesTheWholeTermAgain) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(session, "j-1.1");
  Advance(hours(10));
  Restart();
  AdvanceTicking(minutes(59));
  EXPECT_EQ(Run("j-1.1").state(), v1::Run::RUNNING);
  AdvanceTicking(minutes(2));
  EXPECT_EQ(Run("j-1.1").outcome().kind(), v1::DEVICE_LOST);
}

TEST_F(RestoreTest, EndedRunsOfOpenJobsStayCountedAndWhole) {
  const SessionId session = Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec).ok());
  Started(session, "j-1.1");
  Finished(session, "j-1.1");
  const std::string whole = Run("j-1.1").SerializeAsString();
  Restart();
  const SessionId again = Connect("a");
  Started(again, "j-1.2");
  Finished(again, "j-1.2");
  EXPECT_EQ(Job("j-1").state(), v1::Job::FINISHED);
  EXPECT_EQ(Job("j-1").ended_run_count(), 2U);
  EXPECT_EQ(Job("j-1").expected_run_count(), 2U);
  EXPECT_EQ(Run("j-1.1").SerializeAsString(), whole);
}

TEST_F(RestoreTest, ACancellationSurvivesARestart) {
  const SessionId session = Connect("a");
  ASSERT_TRUE(Submit(Spec()).ok());
  Started(session, "j-1.1");
  ASSERT_TRUE(Cancel("j-1").ok());
  Restart();
  const SessionId again = Connect("a", {}, {{"j-1.1", 1}});
  EXPECT_THAT(Said(again), ElementsAre("welcome", "cancel j-1.1/1 CANCELLED"));
}

TEST_F(RestoreTest, RefusesWhatDoesNotFitTogether) {
  Connect("a");
  v1::JobSpec spec = Spec();
  spec.set_repetitions(2);
  ASSERT_TRUE(Submit(spec).ok());
  const auto restored = [this](const KeptState& state) {
    Core core(options_);
    Actions actions;
    return state.RestoreInto(&core, now_, &actions).code();
  };
  EXPECT_EQ(restored(kept_), absl::StatusCode::kOk);
  KeptState broken = kept_;
  broken.devices.clear();
  EXPECT_EQ(restored(broken), absl::StatusCode::kDataLoss);
  broken = kept_;
  broken.runs["j-1.2"].set_state(v1::Run::ASSIGNED);
  EXPECT_EQ(restored(broken), absl::StatusCode::kDataLoss);
  broken.runs["j-1.2"].add_attempts()->set_attempt(1);
  EXPECT_EQ(restored(broken), absl::StatusCode::kDataLoss);
  broken = kept_;
  broken.runs["j-1.2"].set_job_id("j-other");
  EXPECT_EQ(restored(broken), absl::StatusCode::kDataLoss);
  broken = kept_;
  broken.runs.erase("j-1.2");
  EXPECT_EQ(restored(broken), absl::StatusCode::kDataLoss);
}

TEST_F(RestoreTest, AnUnknownMessageIsASignOfLife) {
  const SessionId session = Connect("a");
  Advance(seconds(9));
  Send(session, {});
  EXPECT_EQ(base::FromProto(core_->GetDevice("a")->last_seen_time()), now_.wall);
  (void)Said(session);
  Send(99, {});
  EXPECT_THAT(said_[99], IsEmpty());
}

}  // namespace
}  // namespace ballast::core
