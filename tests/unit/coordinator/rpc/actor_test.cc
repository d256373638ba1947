#include "coordinator/rpc/actor.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/unit/coordinator/rpc/gated_store.h"

namespace ballast::coordinator {
namespace {

using testing::ElementsAre;

// Keeps what it is sent; tests await it.
class RecordingSession final : public SessionSink {
 public:
  // Called, once, with the first message that is sent, from the actor's thread.
  std::function<void()> on_send;

  void Send(v1::CoordinatorMessage message) override {
    if (on_send) std::exchange(on_send, nullptr)();
    const std::lock_guard lock(mutex_);
    sent_.push_back(std::move(message));
    changed_.notify_all();
  }
  void Finish(absl::Status status) override {
    const std::lock_guard lock(mutex_);
    end_ = std::move(status);
    changed_.notify_all();
  }
  void Release(std::size_t messages, std::size_t /*bytes*/) override {
    const std::lock_guard lock(mutex_);
    released_ += messages;
    changed_.notify_all();
  }
  v1::CoordinatorMessage AwaitMessage() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !sent_.empty(); });
    v1::CoordinatorMessage message = std::move(sent_.front());
    sent_.erase(sent_.begin());
    return message;
  }
  absl::Status AwaitEnd() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }
  void AwaitReleased(std::size_t messages) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return released_ >= messages; });
  }
  std::size_t sent() {
    const std::lock_guard lock(mutex_);
    return sent_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::CoordinatorMessage> sent_;
  std::optional<absl::Status> end_;
  std::size_t released_ = 0;
};

// Stands still until it is told.
class SetClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::SystemTime(Monotonic()); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return std::chrono::seconds(seconds_.load()); }
  void Advance(std::int64_t seconds) { seconds_ += seconds; }

 private:
  std::atomic<std::int64_t> seconds_{1000};
};

v1::WorkerMessage Hello(const std::string& device_id) {
  v1::WorkerMessage message;
  message.mutable_hello()->set_device_id(device_id);
  message.mutable_hello()->set_protocol_version(1);
  message.mutable_hello()->mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
  return message;
}

core::Submission PressureJob(const std::string& job_id) {
  core::Submission submission{job_id, {}, "", ""};
  submission.spec.mutable_workload()->mutable_pressure()->mutable_burst();
  return submission;
}

class ActorTest : public testing::Test {
 protected:
  ActorTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-actor-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    database_ = storage::OpenSqliteStore(directory_ / "ballast.db").value();
    store_ = std::make_unique<GatedStore>(database_.get());
  }
  ~ActorTest() override {
    actor_.reset();
    store_.reset();
    database_.reset();
    std::filesystem::remove_all(directory_);
  }

  void StartActor(const base::Clock& clock = base::RealClock()) {
    ActorOptions options;
    options.min_retry = std::chrono::milliseconds(1);
    options.max_retry = std::chrono::milliseconds(8);
    options.on_serving = [this](bool serving) {
      const std::lock_guard lock(mutex_);
      serving_.push_back(serving);
      changed_.notify_all();
    };
    actor_ = Actor::Start(store_.get(), &clock, std::move(options)).value();
  }
  void AwaitServing(const std::vector<bool>& history) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return serving_ == history; });
  }

  absl::StatusOr<v1::Job> Submit(const std::string& job_id) {
    return actor_->Call<v1::Job>(std::chrono::system_clock::time_point::max(),
                                 [job_id](core::Core& core, const core::Instant& now, core::Actions* actions) {
                                   return core.Submit(now, PressureJob(job_id), actions);
                                 });
  }

  std::filesystem::path directory_;
  std::unique_ptr<storage::Store> database_;
  std::unique_ptr<GatedStore> store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> serving_;
  std::unique_ptr<Actor> actor_;
};

TEST_F(ActorTest, RepliesMessagesAndCreditsWaitForTheCommit) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  const core::SessionId id = actor_->OpenSession(session);
  actor_->Receive(id, Hello("a"), 10);
  EXPECT_TRUE(session->AwaitMessage().has_welcome());
  session->AwaitReleased(1);
  store_->Close();
  std::future<absl::StatusOr<v1::Job>> reply = std::async(std::launch::async, [this] { return Submit("j-1"); });
  store_->AwaitWrite();
  EXPECT_EQ(reply.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_EQ(session->sent(), 0U);
  store_->Open();
  EXPECT_TRUE(session->AwaitMessage().has_assignment());
  EXPECT_TRUE(reply.get().ok());
}

TEST_F(ActorTest, EventsOfTheTimeOfACommitShareTheNext) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  store_->Close();
  std::vector<std::future<absl::StatusOr<v1::Job>>> replies;
  replies.push_back(std::async(std::launch::async, [this] { return Submit("j-0"); }));
  store_->AwaitWrite();
  for (int i = 1; i < 4; ++i) {
    replies.push_back(std::async(std::launch::async, [this, i] { return Submit("j-" + std::to_string(i)); }));
  }
  store_->Open();
  for (auto& reply : replies) EXPECT_TRUE(reply.get().ok());
  EXPECT_EQ(database_->LoadOpenState()->jobs.size(), 4U);
}

TEST_F(ActorTest, NobodyIsSilentWhileTheCoordinatorCannotHear) {
  SetClock clock;
  StartActor(clock);
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  store_->Close();
  std::future<absl::StatusOr<v1::Job>> reply = std::async(std::launch::async, [this] { return Submit("j-1"); });
  store_->AwaitWrite();
  clock.Advance(3600);
  actor_->SweepWatchers("j-1");  // wakes the actor, as any event does
  store_->Open();
  EXPECT_TRUE(reply.get().ok());
  const auto device_state = [this] {
    return actor_
        ->Call<v1::Device>(std::chrono::system_clock::time_point::max(),
                           [](core::Core& core, const core::Instant& now, core::Actions* actions) {
                             core.Tick(now, actions);
                             return core.GetDevice("a");
                           })
        .value()
        .state();
  };
  EXPECT_EQ(device_state(), v1::Device::BUSY);
  // One step at a time: a process that sleeps through a time hears nobody in it, either.
  for (int i = 0; i < 16; ++i) {
    clock.Advance(1);
    (void)device_state();
  }
  EXPECT_EQ(device_state(), v1::Device::OFFLINE);
  clock.Advance(1);
  const auto again = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(again), Hello("a"), 10);
  (void)again->AwaitMessage();
  clock.Advance(3600);
  EXPECT_NE(device_state(), v1::Device::OFFLINE) << "nobody is silent while the actor itself sleeps";
  actor_.reset();  // before its clock
}

TEST_F(ActorTest, AFailedWriteTellsNobodyAnythingAndStartsOverFromTheStore) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  ASSERT_TRUE(Submit("j-kept").ok());
  EXPECT_TRUE(session->AwaitMessage().has_assignment());
  store_->Close();
  std::future<absl::StatusOr<v1::Job>> first = std::async(std::launch::async, [this] { return Submit("j-lost"); });
  store_->AwaitWrite();
  store_->FailWrites(absl::UnavailableError("no space left"));
  EXPECT_EQ(first.get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(session->AwaitEnd().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(session->sent(), 0U);
  // While it lasts nobody gets in.
  const auto refused = std::make_shared<RecordingSession>();
  (void)actor_->OpenSession(refused);
  EXPECT_EQ(refused->AwaitEnd().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Submit("j-lost").status().code(), absl::StatusCode::kUnavailable);
  AwaitServing({true, false});
  store_->AwaitFailures(4);  // it keeps trying
  store_->FailWrites(absl::OkStatus());
  AwaitServing({true, false, true});
  // What was stored goes on; what was not is gone, and may be asked for again.
  const auto again = std::make_shared<RecordingSession>();
  const core::SessionId id = actor_->OpenSession(again);
  actor_->Receive(id, Hello("a"), 10);
  EXPECT_TRUE(again->AwaitMessage().has_welcome());
  v1::WorkerMessage idle;
  idle.mutable_heartbeat();
  actor_->Receive(id, idle, 10);
  EXPECT_EQ(again->AwaitMessage().assignment().run_id(), "j-kept.1");
  EXPECT_TRUE(Submit("j-lost").ok());
}

TEST_F(ActorTest, ACallThatTakesTooLongSaysSo) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  store_->Close();
  const absl::StatusOr<v1::Job> job =
      actor_->Call<v1::Job>(std::chrono::system_clock::now() + std::chrono::milliseconds(1),
                            [](core::Core& core, const core::Instant& now, core::Actions* actions) {
                              return core.Submit(now, PressureJob("j-1"), actions);
                            });
  EXPECT_EQ(job.status().code(), absl::StatusCode::kDeadlineExceeded);
  store_->Open();
}

TEST_F(ActorTest, StoppingCommitsWhatWasBegunAndEndsTheRest) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  store_->Close();
  std::future<absl::StatusOr<v1::Job>> begun = std::async(std::launch::async, [this] { return Submit("j-1"); });
  store_->AwaitWrite();
  std::future<void> stop = std::async(std::launch::async, [this] { actor_->Stop(); });
  store_->Open();
  stop.get();
  EXPECT_TRUE(begun.get().ok());
  EXPECT_EQ(session->AwaitEnd().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Submit("j-2").status().code(), absl::StatusCode::kUnavailable);
  actor_->Stop();
}

TEST_F(ActorTest, AStopInTheMiddleOfARoundLeavesNoCallUnanswered) {
  // The stop is asked for while the outputs of a commit leave: between two looks of the actor at its mailbox.
  for (int round = 0; round < 20; ++round) {
    StartActor();
    std::future<void> stop;
    const auto session = std::make_shared<RecordingSession>();
    session->on_send = [&] {
      std::promise<void> begun;
      stop = std::async(std::launch::async, [&] {
        begun.set_value();
        actor_->Stop();
      });
      begun.get_future().wait();
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    };
    actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
    EXPECT_EQ(session->AwaitEnd().code(), absl::StatusCode::kUnavailable);
    stop.get();
    const absl::StatusOr<v1::Device> late = actor_->Call<v1::Device>(
        std::chrono::system_clock::now() + std::chrono::seconds(5),
        [](core::Core& core, const core::Instant&, core::Actions*) { return core.GetDevice("a"); });
    ASSERT_EQ(late.status().code(), absl::StatusCode::kUnavailable) << late.status();
  }
}

TEST_F(ActorTest, MessagesWaitUntilTheirBatchIsCommittedOrDropped) {
  constexpr std::size_t kMuch = 65U << 20U;
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  const core::SessionId id = actor_->OpenSession(session);
  store_->Close();
  actor_->Receive(id, Hello("a"), kMuch);
  store_->AwaitWrite();
  EXPECT_TRUE(actor_->overloaded());
  store_->Open();
  session->AwaitReleased(1);
  EXPECT_FALSE(actor_->overloaded());
  store_->Close();
  actor_->CloseSession(id);
  const auto again = std::make_shared<RecordingSession>();
  const core::SessionId next = actor_->OpenSession(again);
  store_->AwaitWrite();
  actor_->Receive(next, Hello("a"), kMuch);
  EXPECT_TRUE(actor_->overloaded());
  store_->FailWrites(absl::UnavailableError("no space left"));
  EXPECT_EQ(again->AwaitEnd().code(), absl::StatusCode::kUnavailable);
  (void)Submit("j-1");  // behind the message in the mailbox
  EXPECT_FALSE(actor_->overloaded());
}

TEST_F(ActorTest, AStoreThatCannotBeWrittenIsFoundOutAtTheStart) {
  StartActor();
  const auto session = std::make_shared<RecordingSession>();
  actor_->Receive(actor_->OpenSession(session), Hello("a"), 10);
  (void)session->AwaitMessage();
  actor_.reset();
  store_->FailWrites(absl::UnavailableError("read-only file system"));
  EXPECT_EQ(Actor::Start(store_.get(), &base::RealClock(), {}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace ballast::coordinator
