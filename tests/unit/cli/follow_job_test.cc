#include "cli/follow_job.h"

#include <fcntl.h>
#include <sys/file.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <future>
#include <mutex>
#include <ostream>
#include <streambuf>

#include "cli/credentials.h"
#include "common/base/file.h"
#include "common/base/next_step.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

// A stream's text that another thread waits for.
class AwaitedText : public std::streambuf {
 public:
  void Await(const std::string& text) {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [&] { return text_.find(text) != std::string::npos; });
  }
  std::string text() {
    const std::scoped_lock lock(mutex_);
    return text_;
  }

 protected:
  std::streamsize xsputn(const char* data, std::streamsize size) override {
    const std::scoped_lock lock(mutex_);
    text_.append(data, static_cast<std::size_t>(size));
    written_.notify_all();
    return size;
  }
  int_type overflow(int_type c) override {
    const char text = traits_type::to_char_type(c);
    xsputn(&text, 1);
    return c;
  }

 private:
  std::mutex mutex_;
  std::condition_variable written_;
  std::string text_;
};

// Whenever somebody looks at it, seconds have passed.
class HastyClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::RealClock().Now(); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override {
    return std::chrono::seconds(5) * readings_.fetch_add(1);
  }

 private:
  mutable std::atomic<int> readings_{0};
};

// The machine's, with a wall clock that can be moved.
class MovedClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::RealClock().Now() + ahead.load(); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return base::RealClock().Monotonic(); }

  std::atomic<std::chrono::nanoseconds> ahead{std::chrono::nanoseconds(0)};
};

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

  // With another clock, and on `text_`.
  std::future<absl::StatusOr<FollowedJob>> FollowBy(const base::Clock& clock, Terminal terminal = {}) {
    return std::async(std::launch::async, [this, &clock, terminal] {
      Context context{.out = out_,
                      .err = stream_,
                      .interrupts = interrupts_,
                      .clock = clock,
                      .terminal = terminal,
                      .variable = context_.variable,
                      .program_directory = context_.program_directory};
      return FollowJob("j-1", *session_, context);
    });
  }
  // Its runs wait, for this reason.
  void Queue(v1::Job::State state, v1::WaitReason::Kind kind, const std::string& message) {
    const std::scoped_lock lock(coordinator_.mutex);
    for (auto& [id, run] : coordinator_.runs) run.set_state(v1::Run::QUEUED);
    v1::Job& job = coordinator_.jobs["j-1"];
    job.set_state(state);
    job.clear_wait_reasons();
    v1::WaitReason& reason = *job.add_wait_reasons();
    reason.set_kind(kind);
    reason.set_device_id("dev-1");
    reason.set_message(message);
    reason.set_run_count(2);
    coordinator_.changed.notify_all();
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
  AwaitedText text_;
  std::ostream stream_{&text_};
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

TEST_F(FollowJobTest, AWaitingJobIsAskedWhatForAsNoUpdateSaysSo) {
  const HastyClock clock;
  Queue(v1::Job::QUEUED, v1::WaitReason::DEVICE_OFFLINE, "device dev-1 is not connected");
  auto following = FollowBy(clock);
  text_.Await("j-1: waits: 2: device dev-1 is not connected\n");
  Queue(v1::Job::QUEUED, v1::WaitReason::DEVICE_DRAINED, "device dev-1 is drained");
  text_.Await("j-1: waits: 2: device dev-1 is drained\n");
  {
    const std::scoped_lock lock(coordinator_.mutex);
    coordinator_.get_job_status = absl::InternalError("something broke");
  }
  Queue(v1::Job::RUNNING, v1::WaitReason::DEVICE_BUSY, "device dev-1 is busy");
  text_.Await("j-1: running\n");
  {
    const std::scoped_lock lock(coordinator_.mutex);
    coordinator_.get_job_status = absl::OkStatus();
  }
  text_.Await("j-1: waits: 2: device dev-1 is busy\n");
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_THAT(text_.text(), testing::Not(HasSubstr("something broke")));
}

TEST_F(FollowJobTest, APictureThatCameTooSoonIsDrawnAlthoughNothingMoreComes) {
  Queue(v1::Job::QUEUED, v1::WaitReason::DEVICE_OFFLINE, "device dev-1 is not connected");
  auto following = FollowBy(base::RealClock(), {.err_is_live = true, .err_columns = 80, .err_rows = 24});
  text_.Await("0 of 2 runs ended, 2 waiting\nwaits: 2: device dev-1 is not connected\n");
  EndJob();
  const auto followed = following.get();
  EXPECT_TRUE(followed.ok()) << followed.status();
}

// At a coordinator with certificates.
class FollowJobSecurelyTest : public FollowJobTest {
 protected:
  FollowJobSecurelyTest() {
    coordinator_.ListenSecurely();
    first_ = coordinator_.Issue(clock_.Now(), std::chrono::hours(1));
    file_ = *IdentityFile(coordinator_.secure_address(), context_);
    EXPECT_TRUE(tls::SaveIdentity(file_, first_).ok());
    auto session = Session::Open(secure_, {.coordinator = coordinator_.secure_address()}, Session::Use::kHistory);
    EXPECT_TRUE(session.ok()) << session.status();
    if (session.ok()) session_ = std::move(*session);
  }
  std::future<absl::StatusOr<FollowedJob>> Follow() {
    return std::async(std::launch::async, [this] { return FollowJob("j-1", *session_, secure_); });
  }
  // The coordinator's clock passes the end of the first certificate.
  void Expire() {
    const std::scoped_lock lock(coordinator_.mutex);
    coordinator_.check_watch = [this](const std::string& pem) {
      if (tls::ReadCertificate(pem)->serial != first_.facts.serial) return absl::OkStatus();
      return absl::UnauthenticatedError("the certificate of this connection: it expired on Sunday");
    };
    coordinator_.changed.notify_all();
  }

  // Until two thirds of the first certificate's life are over, and it is renewed.
  void AwaitRenewal() {
    coordinator_.AwaitWatcher();
    clock_.ahead = std::chrono::minutes(45);
    std::unique_lock lock(coordinator_.mutex);
    // Something to wake up for.
    coordinator_.jobs["j-1"].set_ended_run_count(1);
    coordinator_.changed.notify_all();
    coordinator_.changed.wait(lock, [this] { return coordinator_.renew_count > 0; });
  }

  MovedClock clock_;
  Context secure_{.out = out_,
                  .err = stream_,
                  .interrupts = interrupts_,
                  .clock = clock_,
                  .terminal = {},
                  .variable = context_.variable,
                  .program_directory = context_.program_directory};
  tls::Identity first_;
  std::filesystem::path file_;
};

TEST_F(FollowJobSecurelyTest, GoesOnWithTheCertificateThatAnotherCommandHasKept) {
  auto following = Follow();
  coordinator_.AwaitWatcher();
  ASSERT_TRUE(tls::SaveIdentity(file_, coordinator_.Issue(clock_.Now(), std::chrono::hours(1))).ok());
  Expire();
  text_.Await(
      "the certificate of this connection: it expired on Sunday; connecting again with the one that is kept now\n");
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_TRUE(followed->ended);
}

TEST_F(FollowJobSecurelyTest, RenewsTheCertificateInTime) {
  auto following = Follow();
  AwaitRenewal();
  Expire();
  text_.Await("connecting again");
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  EXPECT_NE(tls::LoadIdentity(file_)->facts.serial, first_.facts.serial);
}

TEST_F(FollowJobSecurelyTest, WhatComesAfterTheJobHasTheRenewedCertificate) {
  auto following = Follow();
  AwaitRenewal();
  EndJob();
  const auto followed = following.get();
  ASSERT_TRUE(followed.ok()) << followed.status();
  Expire();
  grpc::ClientContext context;
  const auto reader = session_->Watch(&context, "j-1");
  v1::JobUpdate update;
  while (reader->Read(&update)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(FollowJobSecurelyTest, EndsWithTheWayBackWhereTheCertificateIsRefusedAgain) {
  auto following = Follow();
  coordinator_.AwaitWatcher();
  Expire();
  const auto followed = following.get();
  ASSERT_TRUE(absl::IsUnauthenticated(followed.status())) << followed.status();
  EXPECT_EQ(coordinator_.watch_count, 2);
  EXPECT_THAT(std::string(followed.status().message()), testing::EndsWith("it expired on Sunday; job j-1 goes on"));
  EXPECT_THAT(base::NextStepOf(followed.status()).value_or(""),
              testing::AllOf(HasSubstr("ballast login TOKEN@" + coordinator_.secure_address()),
                             HasSubstr("then ballast watch j-1 follows it again")));
}

TEST_F(FollowJobSecurelyTest, EndsWithTheWayBackWhereTheKeptOneHasExpiredToo) {
  auto following = Follow();
  coordinator_.AwaitWatcher();
  clock_.ahead = std::chrono::hours(2);
  Expire();
  const auto followed = following.get();
  ASSERT_TRUE(absl::IsUnauthenticated(followed.status())) << followed.status();
  EXPECT_EQ(coordinator_.watch_count, 1);
  EXPECT_THAT(std::string(followed.status().message()), HasSubstr(file_.string()));
  EXPECT_THAT(base::NextStepOf(followed.status()).value_or(""), HasSubstr("then ballast watch j-1 follows it again"));
}

}  // namespace
}  // namespace ballast::cli
