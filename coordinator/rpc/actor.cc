#include "coordinator/rpc/actor.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace ballast::coordinator {
namespace {

// A commit that takes longer than this holds workers back.
constexpr std::chrono::seconds kSlowCommit{1};
// While a time is waited for, the clock is looked at so often: one who has slept for longer was stopped, or got no
// processor, and heard nobody meanwhile.
constexpr std::chrono::nanoseconds kPulse = std::chrono::seconds(1);
constexpr std::chrono::nanoseconds kLongSleep = std::chrono::seconds(2);

storage::Mutation ToStorage(core::Mutation mutation) {
  struct Convert {
    storage::Mutation operator()(core::PutJob&& put) const { return storage::PutJob{std::move(put.job)}; }
    storage::Mutation operator()(core::PutRun&& put) const { return storage::PutRun{std::move(put.run)}; }
    storage::Mutation operator()(core::PutDevice&& put) const { return storage::PutDevice{std::move(put.device)}; }
    storage::Mutation operator()(core::DeleteDevice&& gone) const {
      return storage::DeleteDevice{std::move(gone.device_id)};
    }
    storage::Mutation operator()(core::DeleteRun&& gone) const { return storage::DeleteRun{std::move(gone.run_id)}; }
    storage::Mutation operator()(core::DeleteJob&& gone) const { return storage::DeleteJob{std::move(gone.job_id)}; }
    storage::Mutation operator()(core::PutChunk&& put) const {
      return storage::PutChunk{std::move(put.run_id), put.attempt, put.seq, std::move(put.chunk)};
    }
    storage::Mutation operator()(core::PutReservation&& put) const {
      return storage::PutReservation{std::move(put.reservation)};
    }
    storage::Mutation operator()(core::DeleteReservation&& gone) const {
      return storage::DeleteReservation{std::move(gone.reservation_id)};
    }
    storage::Mutation operator()(core::PutSchedule&& put) const {
      return storage::PutSchedule{std::move(put.schedule)};
    }
    storage::Mutation operator()(core::DeleteSchedule&& gone) const {
      return storage::DeleteSchedule{std::move(gone.schedule_id)};
    }
  };
  return std::visit(Convert{}, std::move(mutation));
}

storage::WriteBatch ToStorage(std::vector<core::Mutation> mutations) {
  storage::WriteBatch batch;
  batch.reserve(mutations.size());
  for (core::Mutation& mutation : mutations) batch.push_back(ToStorage(std::move(mutation)));
  return batch;
}

absl::Status StoppingStatus() {
  return absl::UnavailableError("the coordinator is stopping");
}

}  // namespace

Actor::Actor(storage::Store* store, const base::Clock* clock, ActorOptions options)
    : store_(store), clock_(clock), options_(std::move(options)), retry_pause_(options_.min_retry) {}

absl::StatusOr<std::unique_ptr<Actor>> Actor::Start(storage::Store* store, const base::Clock* clock,
                                                    ActorOptions options) {
  std::unique_ptr<Actor> actor(new Actor(store, clock, std::move(options)));
  BALLAST_RETURN_IF_ERROR(actor->LoadCore());
  Actor* self = actor.get();
  actor->thread_ = std::jthread([self](const std::stop_token& stop) { self->Run(stop); });
  return actor;
}

Actor::~Actor() {
  Stop();
}

void Actor::Stop() {
  const std::lock_guard stopping(stop_mutex_);
  thread_.request_stop();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

core::SessionId Actor::OpenSession(std::shared_ptr<SessionSink> sink) {
  const core::SessionId session = next_session_.fetch_add(1);
  Post(OpenEvent{session, std::move(sink)});
  return session;
}

void Actor::Receive(core::SessionId session, v1::WorkerMessage message, std::size_t bytes) {
  waiting_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  Post(MessageEvent{session, std::move(message), bytes});
}

void Actor::CloseSession(core::SessionId session) {
  Post(CloseEvent{session});
}

void Actor::Watch(std::string job_id, std::shared_ptr<WatchSink> sink) {
  Post(WatchEvent{std::move(job_id), std::move(sink)});
}

void Actor::SweepWatchers(std::string job_id) {
  Post(SweepEvent{std::move(job_id)});
}

void Actor::Post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      // Who is to take an earlier one takes this with it: under load most need no waking.
      const bool first = mailbox_.empty();
      mailbox_.push_back(std::move(event));
      if (first) wake_.notify_all();
      return;
    }
  }
  Refuse(std::move(event), StoppingStatus());
}

std::optional<std::chrono::nanoseconds> Actor::NextWakeUp() const {
  if (core_ == nullptr) return retry_at_;
  const std::optional<std::chrono::nanoseconds> at = core_->NextWakeUp();
  if (at && in_flight_.has_value() && *at > in_flight_since_ + kSlowCommit) return std::nullopt;
  return at;
}

void Actor::Run(const std::stop_token& stop) {
  if (options_.on_serving) options_.on_serving(true);
  awake_at_ = clock_->Monotonic();
  while (true) {
    std::vector<Event> events;
    std::optional<absl::Status> committed;
    bool stopping = false;
    bool timed = false;
    {
      std::unique_lock lock(mutex_);
      const auto something = [this] { return !mailbox_.empty() || commit_result_.has_value(); };
      if (const std::optional<std::chrono::nanoseconds> at = NextWakeUp()) {
        timed = true;
        const std::chrono::nanoseconds left = std::min(*at - clock_->Monotonic(), kPulse);
        if (left > std::chrono::nanoseconds(0)) wake_.wait_for(lock, stop, left, something);
      } else {
        wake_.wait(lock, stop, something);
      }
      // What is being committed is waited for: those who asked for it get their answer. Looked at once, under the lock:
      // whoever posts either finds this the last round, or is in a later one.
      stopping = stop.stop_requested();
      if (stopping) {
        wake_.wait(lock, [this] { return !in_flight_.has_value() || commit_result_.has_value(); });
        stopped_ = true;
      }
      events.swap(mailbox_);
      committed = std::exchange(commit_result_, std::nullopt);
    }
    ForgiveSleep(timed);
    if (committed) OnCommitted(*committed);
    if (stopping) {  // nothing is being committed any more
      for (Event& event : events) Refuse(std::move(event), StoppingStatus());
      break;
    }
    for (Event& event : events) {
      if (core_ != nullptr) {
        Apply(std::move(event));
      } else {
        Refuse(std::move(event), unavailable_);
      }
    }
    // Once more: it may have been stopped since, and time must not be looked at as if it had heard meanwhile.
    const core::Instant now = ForgiveSleep(true);
    if (core_ != nullptr) {
      if (const auto at = NextWakeUp(); at && *at <= now.steady) core_->Tick(now, &pending_.actions);
      Flush();
    } else if (now.steady >= retry_at_) {
      if (const absl::Status status = LoadCore(); status.ok()) {
        base::Log().info("the store can be written again");
        if (options_.on_serving) options_.on_serving(true);
      } else {
        EnterRecovery(status);
      }
    }
  }
  FailBatch(std::exchange(pending_, {}), StoppingStatus());
  DropEverybody(StoppingStatus());
}

core::Instant Actor::ForgiveSleep(bool timed) {
  const core::Instant now = Now();
  const std::chrono::nanoseconds slept = now.steady - std::exchange(awake_at_, now.steady);
  // Before anything else: what the workers said meanwhile is still on its way through the sockets.
  if (timed && slept > kLongSleep && core_ != nullptr) core_->ForgiveSilence(now, slept);
  return now;
}

void Actor::Apply(Event event) {
  const core::Instant now = Now();
  struct Visitor {
    Actor* actor;
    const core::Instant& now;
    void operator()(OpenEvent&& open) const { actor->sessions_[open.session] = std::move(open.sink); }
    void operator()(MessageEvent&& received) const {
      if (actor->pending_.credits.empty()) actor->pending_.first_heard = now.steady;
      auto& [messages, bytes] = actor->pending_.credits[received.session];
      ++messages;
      bytes += received.bytes;
      if (!actor->sessions_.contains(received.session)) return;
      actor->core_->Receive(now, received.session, std::move(received.message), &actor->pending_.actions);
    }
    void operator()(CloseEvent&& close) const {
      actor->sessions_.erase(close.session);
      actor->core_->Disconnect(now, close.session, &actor->pending_.actions);
    }
    void operator()(CallEvent&& call) const {
      call.call->Carry(*actor->core_, now, &actor->pending_.actions);
      actor->pending_.replies.emplace_back(actor->pending_.actions.outputs.size(), std::move(call.call));
    }
    void operator()(WatchEvent&& watch) const {
      WatchStart start{watch.job_id, std::move(watch.sink), actor->core_->Watch(now, watch.job_id)};
      actor->pending_.replies.emplace_back(actor->pending_.actions.outputs.size(), std::move(start));
    }
    void operator()(SweepEvent&& sweep) const {
      const auto it = actor->watchers_.find(sweep.job_id);
      if (it == actor->watchers_.end()) return;
      const std::size_t gone = std::erase_if(it->second, [](const auto& sink) { return !sink->alive(); });
      for (std::size_t i = 0; i < gone; ++i) actor->core_->Unwatch(sweep.job_id);
      if (it->second.empty()) actor->watchers_.erase(it);
    }
  };
  std::visit(Visitor{this, now}, std::move(event));
}

void Actor::Refuse(Event event, const absl::Status& status) {
  if (const auto* open = std::get_if<OpenEvent>(&event)) {
    open->sink->Finish(status);
  } else if (const auto* received = std::get_if<MessageEvent>(&event)) {
    waiting_bytes_.fetch_sub(received->bytes, std::memory_order_relaxed);
  } else if (const auto* call = std::get_if<CallEvent>(&event)) {
    call->call->Release(status);
  } else if (const auto* watch = std::get_if<WatchEvent>(&event)) {
    watch->sink->Finish(status);
  }
}

void Actor::Flush() {
  while (!in_flight_.has_value() && core_ != nullptr && !pending_.empty()) {
    Batch batch = std::exchange(pending_, {});
    if (batch.actions.mutations.empty()) {
      ReleaseBatch(std::move(batch));
      continue;
    }
    storage::WriteBatch mutations = ToStorage(std::exchange(batch.actions.mutations, {}));
    in_flight_ = std::move(batch);
    in_flight_since_ = clock_->Monotonic();
    store_->Write(std::move(mutations), [this](absl::Status status) {
      // Under the lock, so that the actor is still there while it is woken.
      const std::lock_guard lock(mutex_);
      commit_result_ = std::move(status);
      wake_.notify_all();
    });
  }
}

void Actor::OnCommitted(const absl::Status& status) {
  if (!status.ok()) {
    EnterRecovery(status);
    return;
  }
  retry_pause_ = options_.min_retry;
  const core::Instant now = Now();
  if (now.steady - in_flight_since_ > kSlowCommit) {
    // Streams whose messages fill this batch may not have been read since it was begun, before it could be committed.
    const std::chrono::nanoseconds begun =
        in_flight_->credits.empty() ? in_flight_since_ : std::min(in_flight_->first_heard, in_flight_since_);
    core_->ForgiveSilence(now, now.steady - std::max(begun, forgiven_until_));
    forgiven_until_ = now.steady;
  }
  Batch batch = std::move(*in_flight_);
  in_flight_.reset();
  ReleaseBatch(std::move(batch));
}

void Actor::ReleaseBatch(Batch batch) {
  std::size_t next = 0;
  const auto release_until = [&](std::size_t end) {
    for (; next < end && core_ != nullptr; ++next) ReleaseOutput(std::move(batch.actions.outputs[next]));
  };
  for (auto& [before, reply] : batch.replies) {
    release_until(before);
    ReleaseReply(std::move(reply));
  }
  release_until(batch.actions.outputs.size());
  SettleBytes(batch);
  for (const auto& [session, credit] : batch.credits) {
    const auto it = sessions_.find(session);
    if (it != sessions_.end()) it->second->Release(credit.first, credit.second);
  }
}

void Actor::ReleaseOutput(core::Output output) {
  if (auto* send = std::get_if<core::SendMessage>(&output)) {
    const auto it = sessions_.find(send->session);
    if (it != sessions_.end()) it->second->Send(std::move(send->message));
  } else if (auto* end = std::get_if<core::EndSession>(&output)) {
    const auto it = sessions_.find(end->session);
    if (it == sessions_.end()) return;
    it->second->Finish(std::move(end->status));
    sessions_.erase(it);
  } else if (auto* publish = std::get_if<core::PublishUpdate>(&output)) {
    const auto it = watchers_.find(publish->job_id);
    if (it == watchers_.end()) return;
    for (const std::shared_ptr<WatchSink>& sink : it->second) sink->Update(publish->update);
  } else if (auto* close = std::get_if<core::CloseWatches>(&output)) {
    const auto it = watchers_.find(close->job_id);
    if (it == watchers_.end()) return;
    for (const std::shared_ptr<WatchSink>& sink : it->second) sink->Finish(absl::OkStatus());
    watchers_.erase(it);
  } else if (auto* load = std::get_if<core::LoadRun>(&output)) {
    // Everything that the core ever did to this run is committed by now: what is read is the whole truth. Rare, and
    // short.
    absl::StatusOr<v1::Run> run = store_->GetRun(load->run_id);
    if (!run.ok() && run.status().code() != absl::StatusCode::kNotFound) {
      EnterRecovery(run.status());
      return;
    }
    core_->RunLoaded(Now(), load->run_id, std::move(run), &pending_.actions);
  } else if (auto* want = std::get_if<core::WantJob>(&output)) {
    if (options_.on_wanted_job) options_.on_wanted_job(std::move(*want));
  }
}

void Actor::ReleaseReply(Reply reply) {
  if (auto* call = std::get_if<std::shared_ptr<PendingCall>>(&reply)) {
    (*call)->Release(absl::OkStatus());
    return;
  }
  auto& start = std::get<WatchStart>(reply);
  if (core_ == nullptr) {
    start.sink->Finish(unavailable_);
  } else if (!start.snapshot.has_value()) {
    start.sink->ServeFromStore();
  } else if (!start.sink->alive()) {
    core_->Unwatch(start.job_id);
  } else {
    for (const v1::JobUpdate& update : *start.snapshot) start.sink->Update(update);
    watchers_[start.job_id].push_back(std::move(start.sink));
  }
}

void Actor::SettleBytes(const Batch& batch) {
  std::size_t bytes = 0;
  for (const auto& [session, credit] : batch.credits) bytes += credit.second;
  waiting_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

void Actor::FailBatch(Batch batch, const absl::Status& status) {
  SettleBytes(batch);
  for (auto& [before, reply] : batch.replies) {
    if (auto* call = std::get_if<std::shared_ptr<PendingCall>>(&reply)) {
      (*call)->Release(status);
    } else {
      std::get<WatchStart>(reply).sink->Finish(status);
    }
  }
}

void Actor::DropEverybody(const absl::Status& status) {
  for (const auto& [session, sink] : std::exchange(sessions_, {})) sink->Finish(status);
  for (const auto& [job_id, sinks] : std::exchange(watchers_, {})) {
    for (const std::shared_ptr<WatchSink>& sink : sinks) sink->Finish(status);
  }
}

void Actor::EnterRecovery(const absl::Status& cause) {
  base::Log().error("the store failed: {}; trying again in {} ms", std::string(cause.message()),
                    std::chrono::duration_cast<std::chrono::milliseconds>(retry_pause_).count());
  if (core_ != nullptr && options_.on_serving) options_.on_serving(false);
  unavailable_ = absl::UnavailableError(
      fmt::format("the coordinator cannot store anything at the moment ({}); it goes on by itself once it can",
                  std::string(cause.message())));
  core_.reset();
  if (in_flight_.has_value()) FailBatch(std::move(*in_flight_), unavailable_);
  in_flight_.reset();
  FailBatch(std::exchange(pending_, {}), unavailable_);
  DropEverybody(unavailable_);
  retry_at_ = clock_->Monotonic() + retry_pause_;
  retry_pause_ = std::min<std::chrono::nanoseconds>(retry_pause_ * 2, options_.max_retry);
}

absl::Status Actor::LoadCore() {
  BALLAST_ASSIGN_OR_RETURN(storage::OpenState state, store_->LoadOpenState());
  std::optional<v1::Device> probe;
  if (!state.devices.empty()) probe = state.devices.front();
  auto core = std::make_unique<core::Core>(options_.core);
  core::Actions actions;
  core::StoredState stored{std::move(state.jobs), std::move(state.runs), std::move(state.devices),
                           std::move(state.reservations), std::move(state.schedules)};
  BALLAST_RETURN_IF_ERROR(core->Restore(Now(), std::move(stored), &actions));
  // A store that can be read but not written would fail at the first word of a worker: better to know before anybody
  // comes.
  if (actions.mutations.empty() && probe) actions.mutations.emplace_back(core::PutDevice{std::move(*probe)});
  if (!actions.mutations.empty()) {
    BALLAST_RETURN_IF_ERROR(store_->WriteAndWait(ToStorage(std::move(actions.mutations))));
  }
  core_ = std::move(core);
  // What it wants already may leave: it is committed.
  for (core::Output& output : actions.outputs) ReleaseOutput(std::move(output));
  return absl::OkStatus();
}

}  // namespace ballast::coordinator
