// The one thread that owns the core, and the output commit around it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "coordinator/core/core.h"
#include "coordinator/rpc/sinks.h"
#include "storage/store.h"

namespace ballast::coordinator {

struct ActorOptions {
  core::CoreOptions core;
  // Called with true when the coordinator serves, with false while it cannot store anything. From the actor's thread.
  std::function<void(bool)> on_serving;
  // A job that the core wants. From the actor's thread, or from Start; must not block.
  std::function<void(core::WantJob)> on_wanted_job;
  // Bounds of the pause between two tries to come back after a failed write.
  std::chrono::milliseconds min_retry = std::chrono::milliseconds(250);
  std::chrono::milliseconds max_retry = std::chrono::seconds(10);
};

// Events are posted from any thread and carried out one after the other on the actor's. What they change goes to the
// store as one batch, one batch at a time; what they say (messages to workers, replies, updates for watchers) is held
// back until that batch is committed. While a batch is being committed, the next one gathers: under load many events
// share a commit.
//
// When a batch cannot be committed, nothing of it or of what came after it was told to anybody, and the core, which is
// ahead of the store, is dropped: every session and watcher ends with UNAVAILABLE, every waiting call fails with it,
// and a new core is made from what is stored, again and again with a growing pause until that works and a probe can be
// written. Workers connect again and say what they hold, as after a restart.
//
// A commit that takes long keeps sessions from being read (SessionSink::Release). Nobody is taken to be silent, and no
// term runs out, because of that: the core's time stands still from a second after its beginning.
//
// The store and the clock must outlive the actor. Thread-safe.
class Actor {
 public:
  // Reads what is stored, writes that no device is connected, and starts. Codes of the store.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Actor>> Start(storage::Store* store, const base::Clock* clock,
                                                                    ActorOptions options);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  // Carries out `body` on the actor's thread and returns its result once everything that led to it is committed.
  // Blocks. UNAVAILABLE: the store failed or the coordinator is stopping; DEADLINE_EXCEEDED: not committed by then, but
  // it may be later.
  template <typename T>
  [[nodiscard]] absl::StatusOr<T> Call(
      std::chrono::system_clock::time_point deadline,
      std::function<absl::StatusOr<T>(core::Core&, const core::Instant&, core::Actions*)> body);

  // A session begins; its messages follow, in order. The actor holds the sink until the session is over.
  [[nodiscard]] core::SessionId OpenSession(std::shared_ptr<SessionSink> sink);
  // `bytes` is what the message counts for until Release.
  void Receive(core::SessionId session, v1::WorkerMessage message, std::size_t bytes);
  void CloseSession(core::SessionId session);

  // The sink gets the whole state of the job first and then every change; or ServeFromStore where the job is not open.
  void Watch(std::string job_id, std::shared_ptr<WatchSink> sink);
  // Looks for watchers of the job that are not alive any more.
  void SweepWatchers(std::string job_id);

  // Whether so much is waiting, for its turn or for its commit, that sessions should not read ahead.
  [[nodiscard]] bool overloaded() const { return waiting_bytes_.load(std::memory_order_relaxed) > kMaxWaitingBytes; }

  // Commits what was begun, ends every session and watcher with UNAVAILABLE, and ends the thread. Later calls fail.
  // Repeatable; blocks on the disk.
  void Stop();

 private:
  static constexpr std::size_t kMaxWaitingBytes = 64U << 20U;

  // A call that somebody waits for.
  class PendingCall {
   public:
    virtual ~PendingCall() = default;
    virtual void Carry(core::Core& core, const core::Instant& now, core::Actions* actions) = 0;
    // The result may leave (OK), or the call failed.
    virtual void Release(const absl::Status& status) = 0;
  };
  template <typename T>
  class TypedCall;

  struct OpenEvent {
    core::SessionId session;
    std::shared_ptr<SessionSink> sink;
  };
  struct MessageEvent {
    core::SessionId session;
    v1::WorkerMessage message;
    std::size_t bytes;
  };
  struct CloseEvent {
    core::SessionId session;
  };
  struct CallEvent {
    std::shared_ptr<PendingCall> call;
  };
  struct WatchEvent {
    std::string job_id;
    std::shared_ptr<WatchSink> sink;
  };
  struct SweepEvent {
    std::string job_id;
  };
  using Event = std::variant<OpenEvent, MessageEvent, CloseEvent, CallEvent, WatchEvent, SweepEvent>;

  // A watcher whose first view is to leave; nothing in it: served from the store.
  struct WatchStart {
    std::string job_id;
    std::shared_ptr<WatchSink> sink;
    std::optional<std::vector<v1::JobUpdate>> snapshot;
  };
  using Reply = std::variant<std::shared_ptr<PendingCall>, WatchStart>;

  // Events' consequences that are committed together.
  struct Batch {
    core::Actions actions;
    // Replies, each with the number of outputs that leave before it.
    std::vector<std::pair<std::size_t, Reply>> replies;
    std::map<core::SessionId, std::pair<std::size_t, std::size_t>> credits;  // messages and bytes to release
    std::chrono::nanoseconds first_heard{};                                  // when the first of those messages came
    [[nodiscard]] bool empty() const {
      return actions.mutations.empty() && actions.outputs.empty() && replies.empty() && credits.empty();
    }
  };

  Actor(storage::Store* store, const base::Clock* clock, ActorOptions options);

  void Post(Event event);
  void Run(const std::stop_token& stop);
  // Silence of a time in which this process itself was stopped is nobody's. `timed`: it wanted to be woken.
  // Returns the time that it is now.
  core::Instant ForgiveSleep(bool timed);
  void Apply(Event event);
  void Refuse(Event event, const absl::Status& status);
  // Hands the gathered batch to the store, or releases it where there is nothing to store.
  void Flush();
  void OnCommitted(const absl::Status& status);
  void ReleaseBatch(Batch batch);
  void ReleaseOutput(core::Output output);
  void ReleaseReply(Reply reply);
  void FailBatch(Batch batch, const absl::Status& status);
  // The messages of a batch that was committed or dropped do not wait any more.
  void SettleBytes(const Batch& batch);
  void DropEverybody(const absl::Status& status);
  void EnterRecovery(const absl::Status& cause);
  // Makes a core from what is stored, and proves that the store can be written.
  [[nodiscard]] absl::Status LoadCore();
  [[nodiscard]] core::Instant Now() const { return {clock_->Now(), clock_->Monotonic()}; }
  // When the core is to be ticked, or made anew. Nothing where that waits for the commit that is going on.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> NextWakeUp() const;

  storage::Store* const store_;
  const base::Clock* const clock_;
  const ActorOptions options_;
  std::atomic<core::SessionId> next_session_{1};
  std::atomic<std::size_t> waiting_bytes_{0};  // of messages from Receive until their batch is committed or dropped

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<Event> mailbox_;                 // guarded by mutex_
  std::optional<absl::Status> commit_result_;  // guarded by mutex_; of in_flight_
  bool stopped_ = false;                       // guarded by mutex_

  // Of the actor's thread alone.
  std::unique_ptr<core::Core> core_;  // null while the store cannot be relied on
  Batch pending_;
  std::optional<Batch> in_flight_;
  std::chrono::nanoseconds in_flight_since_{};
  std::chrono::nanoseconds awake_at_{};        // when it last looked at the clock
  std::chrono::nanoseconds forgiven_until_{};  // silence before this is forgiven already
  std::unordered_map<core::SessionId, std::shared_ptr<SessionSink>> sessions_;
  std::unordered_map<std::string, std::vector<std::shared_ptr<WatchSink>>> watchers_;
  absl::Status unavailable_;  // what callers are told while core_ is null
  std::chrono::nanoseconds retry_at_{};
  std::chrono::nanoseconds retry_pause_{};

  std::mutex stop_mutex_;
  std::jthread thread_;
};

template <typename T>
class Actor::TypedCall final : public Actor::PendingCall {
 public:
  using Body = std::function<absl::StatusOr<T>(core::Core&, const core::Instant&, core::Actions*)>;
  explicit TypedCall(Body body) : body_(std::move(body)) {}

  void Carry(core::Core& core, const core::Instant& now, core::Actions* actions) override {
    result_ = body_(core, now, actions);
  }
  void Release(const absl::Status& status) override {
    const std::lock_guard lock(mutex_);
    if (!status.ok()) result_ = status;
    released_ = true;
    released_condition_.notify_all();
  }
  absl::StatusOr<T> Wait(std::chrono::system_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    if (!released_condition_.wait_until(lock, deadline, [this] { return released_; })) {
      return absl::DeadlineExceededError("the coordinator did not get it stored in time; it may happen yet");
    }
    return std::move(result_);
  }

 private:
  Body body_;
  std::mutex mutex_;
  std::condition_variable released_condition_;
  bool released_ = false;
  absl::StatusOr<T> result_ = absl::UnknownError("not carried out");
};

template <typename T>
absl::StatusOr<T> Actor::Call(
    std::chrono::system_clock::time_point deadline,
    std::function<absl::StatusOr<T>(core::Core&, const core::Instant&, core::Actions*)> body) {
  auto call = std::make_shared<TypedCall<T>>(std::move(body));
  Post(CallEvent{call});
  return call->Wait(deadline);
}

}  // namespace ballast::coordinator
