#include "cli/follow_job.h"

#include <future>

#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

class FollowJobTest : public CommandTest {
 protected:
  FollowJobTest() {
    coordinator_.hold_jobs = true;
    v1::SubmitJobRequest request;
    v1::Job job;
    coordinator_.SubmitJob(nullptr, &request, &job);
    auto session = Session::Open(context_, {.coordinator = coordinator_.address()}, Session::Use::kHistory);
    if (session.ok()) session_ = std::move(*session);
  }

  std::future<absl::StatusOr<FollowedJob>> FollowInBackground(OnInterrupt on_interrupt) {
    return std::async(std::launch::async,
                      [this, on_interrupt] { return FollowJob("j-1", on_interrupt, *session_, context_); });
  }

  void EndJob() {
    v1::CancelJobRequest request;
    request.set_job_id("j-1");
    v1::Job job;
    coordinator_.CancelJob(nullptr, &request, &job);
  }

  FakeCoordinator coordinator_{directory_.path()};
  std::unique_ptr<Session> session_;
};

TEST_F(FollowJobTest, GivesTheJobWithAllItsRunsWhenItHasEnded) {
  auto following = FollowInBackground(OnInterrupt::kLeave);
  coordinator_.AwaitWatcher();
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(followed->ended);
  EXPECT_FALSE(followed->interrupted);
  EXPECT_EQ(followed->job.state(), v1::Job::CANCELLED);
  ASSERT_EQ(followed->runs.size(), 2U);
  EXPECT_EQ(followed->runs[0].run_id(), "j-1.1");
  EXPECT_THAT(err(), HasSubstr("j-1.1 on dev-1: CANCELLED\n"));
}

TEST_F(FollowJobTest, TheFirstInterruptCancelsAndIsFollowedToTheEnd) {
  auto following = FollowInBackground(OnInterrupt::kCancel);
  coordinator_.AwaitWatcher();
  interrupts_.Raise();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(followed->ended);
  EXPECT_TRUE(followed->interrupted);
  EXPECT_TRUE(followed->job.cancel_requested());
  EXPECT_FALSE(interrupts_.pending()) << "what comes after may still call";
}

TEST_F(FollowJobTest, ComesBackAfterTheCoordinatorWasAway) {
  auto following = FollowInBackground(OnInterrupt::kLeave);
  coordinator_.AwaitWatcher();
  coordinator_.Stop();
  coordinator_.Listen();
  coordinator_.AwaitWatcher();
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(followed->ended);
  EXPECT_EQ(coordinator_.watch_count, 2);
  EXPECT_THAT(err(), HasSubstr("lost the coordinator; connecting again\n"));
}

TEST_F(FollowJobTest, AnInterruptEndsTheWaitForALostCoordinator) {
  auto following = FollowInBackground(OnInterrupt::kLeave);
  coordinator_.AwaitWatcher();
  coordinator_.Stop();
  interrupts_.Raise();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_FALSE(followed->ended);
  EXPECT_TRUE(followed->interrupted);
}

}  // namespace
}  // namespace ballast::cli
