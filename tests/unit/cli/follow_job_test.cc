#include "cli/follow_job.h"

#include <fcntl.h>
#include <sys/file.h>

#include <csignal>
#include <future>

#include "common/base/file.h"
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

  std::future<absl::StatusOr<FollowedJob>> FollowInBackground() {
    return std::async(std::launch::async, [this] { return FollowJob("j-1", *session_, context_); });
  }

  void UseLocalMode() {
    CommandTest::UseLocalMode(coordinator_.address());
    coordinator_.devices["d-1"].set_device_id("d-1");
    coordinator_.devices["d-1"].set_state(v1::Device::READY);
    session_.reset();
  }
  void OpenLocalSession() {
    auto session = Session::Open(context_, {}, Session::Use::kHistory);
    ASSERT_TRUE(session.ok()) << session.status();
    session_ = std::move(*session);
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
  auto following = FollowInBackground();
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

TEST_F(FollowJobTest, TheOwnersFirstInterruptCancelsAndIsFollowedToTheEnd) {
  UseLocalMode();
  OpenLocalSession();
  ASSERT_TRUE(session_->owner());
  auto following = FollowInBackground();
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
  auto following = FollowInBackground();
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
  auto following = FollowInBackground();
  coordinator_.AwaitWatcher();
  coordinator_.Stop();
  interrupts_.Raise();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_FALSE(followed->ended);
  EXPECT_TRUE(followed->interrupted);
}

TEST_F(FollowJobTest, AGuestThatTakesTheOwnersPlaceCancelsLikeOne) {
  UseLocalMode();
  const std::filesystem::path data = directory_.path() / "ballast";
  std::filesystem::create_directory(data);
  base::Fd lock = *base::OpenFile(data / "lock", O_RDWR | O_CREAT);
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  std::filesystem::create_symlink(coordinator_.address().substr(5), data / "coordinator.sock");
  OpenLocalSession();
  ASSERT_FALSE(session_->owner());
  auto following = FollowInBackground();
  coordinator_.AwaitWatcher();
  lock.Reset();
  coordinator_.Stop();
  coordinator_.Listen();
  while (!std::filesystem::exists(PidFile())) ASSERT_FALSE(interrupts_.WaitFor(std::chrono::milliseconds(1)));
  coordinator_.AwaitWatcher();
  interrupts_.Raise();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(session_->owner());
  EXPECT_TRUE(followed->ended);
  EXPECT_TRUE(followed->job.cancel_requested());
}

TEST_F(FollowJobTest, AnOwnersChildThatEndsInMidRunIsStartedAgain) {
  UseLocalMode();
  OpenLocalSession();
  auto following = FollowInBackground();
  coordinator_.AwaitWatcher();
  const std::string before = *base::ReadFile(PidFile());
  // The stream goes on: only the process itself shows that it has ended.
  ASSERT_EQ(::kill(std::stoi(before), SIGKILL), 0);
  while (base::ReadFile(PidFile()).value_or(before) == before)
    ASSERT_FALSE(interrupts_.WaitFor(std::chrono::milliseconds(1)));
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(followed->ended);
  EXPECT_THAT(err(), HasSubstr("the private coordinator was ended by signal 9; starting it again\n"));
}

}  // namespace
}  // namespace ballast::cli
