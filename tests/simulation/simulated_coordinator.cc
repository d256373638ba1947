#include "tests/simulation/simulated_coordinator.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "tests/simulation/mutation.h"

namespace ballast::simulation {
namespace {

// As coordinator/rpc, but for a smaller bound, which is met more often.
constexpr std::size_t kMaxWaitingMessages = 6;
constexpr seconds kSlowCommit(1);
constexpr seconds kLongSleep(2);
constexpr milliseconds kMinRetry(250);
constexpr seconds kMaxRetry(10);

}  // namespace

SimulatedCoordinator::SimulatedCoordinator(Timeline* timeline, Random* random, Network* network, Ledger* ledger)
    : timeline_(timeline), random_(random), network_(network), ledger_(ledger) {
  options_.heartbeat_interval = seconds(5);
  options_.version = "simulated";
  wall_offset_ = seconds(1'700'000'000);
  ChooseOptions();
}

void SimulatedCoordinator::ChooseOptions() {
  core::SchedulingOptions& scheduling = options_.scheduling;
  scheduling.max_parallel_runs = random_->OneIn(3) ? 1 + static_cast<std::uint32_t>(random_->Below(2)) : 0;
  if (random_->OneIn(3)) scheduling.cool_down = random_->Between(milliseconds(500), seconds(5));
  scheduling.quarantine_after = static_cast<std::uint32_t>(random_->Below(3));
  scheduling.health_check_interval = random_->Between(seconds(1), seconds(10));
  scheduling.priority_step = seconds(10);
  scheduling.health_check.mutable_workload()->mutable_pressure()->mutable_burst();
  *scheduling.health_check.mutable_policy()->mutable_lost_after() = base::ToProto(seconds(60));
  ledger_->SetFleetLimit(scheduling.max_parallel_runs);
  ledger_->wall = [this] { return wall(); };
}

void SimulatedCoordinator::Start() {
  running_ = true;
  retry_pause_ = kMinRetry;
  LoadCore();
}

void SimulatedCoordinator::LoadCoreAfter(nanoseconds pause, std::uint64_t incarnation) {
  timeline_->After(pause, [this, incarnation] {
    if (!running_ || incarnation != incarnation_) return;
    if (stopped()) {
      LoadCoreAfter(stopped_until_ - timeline_->now(), incarnation);
    } else {
      LoadCore();
    }
  });
}

void SimulatedCoordinator::LoadCore() {
  const std::uint64_t incarnation = ++incarnation_;
  if (disk_full_) {
    LoadCoreAfter(retry_pause_, incarnation);
    retry_pause_ = std::min<nanoseconds>(retry_pause_ * 2, kMaxRetry);
    return;
  }
  core_ = std::make_unique<core::Core>(options_);
  ledger_->CoreStartedOver();
  ledger_->CoordinatorStarted();
  core::StoredState stored{ledger_->OpenJobs(), ledger_->OpenRuns(), {}, {}, {}};
  for (const auto& [device_id, device] : ledger_->devices()) stored.devices.push_back(device);
  for (const auto& [reservation_id, reservation] : ledger_->reservations()) stored.reservations.push_back(reservation);
  core::Actions actions;
  const absl::Status status = core_->Restore(Now(), std::move(stored), &actions);
  if (!status.ok()) ledger_->Fail(status.ToString());
  Commit(actions.mutations);
  AfterEvent();
}

void SimulatedCoordinator::Commit(const std::vector<core::Mutation>& mutations) {
  for (const core::Mutation& mutation : mutations) ledger_->Committed(mutation);
}

void SimulatedCoordinator::Crash(bool silent) {
  if (!running_) return;
  // The disk may have had it all before the process could say so.
  if (in_flight_ && !write_fails_ && random_->OneIn(2)) Commit(in_flight_->actions.mutations);
  running_ = false;
  stopped_until_ = nanoseconds(0);
  commit_waits_ = false;
  ended_unheard_.clear();
  ++incarnation_;
  core_.reset();
  in_flight_.reset();
  pending_ = {};
  decided_ = 0;
  armed_.reset();
  DropEverybody(silent);
}

void SimulatedCoordinator::DropEverybody(bool silent) {
  for (auto& [number, session] : std::exchange(sessions_, {}))
    network_->CloseFromCoordinator(session.connection, absl::UnavailableError("dropped"), silent);
}

void SimulatedCoordinator::EnterRecovery() {
  core_.reset();
  in_flight_.reset();
  pending_ = {};
  decided_ = 0;
  armed_.reset();
  DropEverybody(false);
  const std::uint64_t incarnation = ++incarnation_;
  LoadCoreAfter(retry_pause_, incarnation);
  retry_pause_ = std::min<nanoseconds>(retry_pause_ * 2, kMaxRetry);
}

void SimulatedCoordinator::Stop(nanoseconds time) {
  if (!stopped()) stopped_since_ = timeline_->now();
  stopped_until_ = std::max(stopped_until_, timeline_->now() + time);
  timeline_->At(stopped_until_, [this] { Continue(); });
}

void SimulatedCoordinator::Continue() {
  if (!running_ || stopped() || stopped_until_ == nanoseconds(0)) return;
  const nanoseconds slept = timeline_->now() - stopped_since_;
  stopped_until_ = nanoseconds(0);
  if (core_ != nullptr && slept > kLongSleep) {
    if (!Mutated("sleep_not_forgiven")) core_->ForgiveSilence(Now(), slept);
    ledger_->CoordinatorSlept(slept);
  }
  // The clock is looked at before the sockets are.
  armed_.reset();
  AfterEvent();
  if (std::exchange(commit_waits_, false)) FinishCommit();
  for (const ConnectionPointer& connection : std::exchange(ended_unheard_, {})) OnUpEnd(connection);
  timeline_->After(nanoseconds(0), [network = network_] { network->ContinueAllUp(); });
}

bool SimulatedCoordinator::Reads(const Connection& connection) const {
  if (running_ && stopped()) return false;
  if (!running_ || core_ == nullptr) return true;  // to be refused
  const auto session = sessions_.find(connection.session);
  return session == sessions_.end() || session->second.waiting < kMaxWaitingMessages;
}

void SimulatedCoordinator::OnUp(const ConnectionPointer& connection, v1::WorkerMessage message) {
  if (!running_) {
    network_->CloseFromCoordinator(connection, absl::UnavailableError("nobody listens"), false);
    return;
  }
  if (core_ == nullptr) {
    network_->CloseFromCoordinator(connection, absl::UnavailableError("cannot store anything"), false);
    return;
  }
  if (connection->session == 0) {
    if (!message.has_hello()) {
      network_->CloseFromCoordinator(connection, absl::FailedPreconditionError("no hello"), false);
      return;
    }
    connection->session = next_session_++;
    sessions_[connection->session] = {connection, message.hello().device_id(), 0};
    newest_[message.hello().device_id()] = connection->session;
    ledger_->SaidHello(connection->session, message.hello());
  }
  const auto session = sessions_.find(connection->session);
  if (session == sessions_.end()) return;
  // What an earlier session brings late is ignored, also after the end of a later one.
  if (newest_[session->second.device_id] == connection->session) ledger_->Heard(session->second.device_id);
  ++session->second.waiting;
  if (pending_.credits.empty()) pending_.first_heard = timeline_->now();
  ++pending_.credits[connection->session];
  core_->Receive(Now(), connection->session, std::move(message), &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::OnUpEnd(const ConnectionPointer& connection) {
  if (running_ && stopped()) {
    ended_unheard_.push_back(connection);
    return;
  }
  if (core_ == nullptr || connection->session == 0) return;
  sessions_.erase(connection->session);
  core_->Disconnect(Now(), connection->session, &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::Submit(core::Submission submission) {
  if (core_ == nullptr || stopped()) return;
  const std::string job_id = submission.job_id;
  const absl::StatusOr<v1::Job> job = core_->Submit(Now(), std::move(submission), &pending_.actions);
  if (job.ok())
    pending_.replies.emplace_back(pending_.actions.outputs.size(), [this, job_id] { ledger_->Submitted(job_id); });
  AfterEvent();
}

void SimulatedCoordinator::Cancel(const std::string& job_id) {
  if (core_ == nullptr || stopped()) return;
  const absl::StatusOr<v1::Job> job = core_->CancelJob(Now(), job_id, &pending_.actions);
  if (job.ok())
    pending_.replies.emplace_back(pending_.actions.outputs.size(), [this, job_id] { ledger_->Cancelled(job_id); });
  AfterEvent();
}

void SimulatedCoordinator::SetDrained(const std::string& device_id, bool drained) {
  if (core_ == nullptr || stopped()) return;
  (void)core_->SetDrained(Now(), device_id, drained, &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::Reserve(const std::string& device_id, const std::string& holder, nanoseconds time) {
  if (core_ == nullptr) return;
  v1::CreateReservationRequest request;
  request.set_holder(holder);
  request.mutable_devices()->add_device_ids(device_id);
  *request.mutable_end_time() = base::ToProto(wall() + time);
  (void)core_->CreateReservation(Now(), fmt::format("v-{}", next_reservation_++), request, &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::EndReservations() {
  if (core_ == nullptr) return;
  for (const v1::Reservation& reservation : core_->ListReservations(""))
    (void)core_->EndReservation(Now(), reservation.reservation_id(), "", true, &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::SubmitWanted(core::WantJob want) {
  if (core_ == nullptr) return;
  for (const auto& [job_id, job] : ledger_->jobs()) {
    if (job.request_id() != want.request_id) continue;
    core_->WantedJobKnown(Now(), want.origin, job_id, &pending_.actions);
    AfterEvent();
    return;
  }
  (void)core_->Submit(Now(),
                      {fmt::format("w-{}", next_wanted_++),
                       std::move(want.spec),
                       std::move(want.request_id),
                       std::move(want.submitter),
                       {},
                       want.origin},
                      &pending_.actions);
  AfterEvent();
}

void SimulatedCoordinator::SetClock(nanoseconds by) {
  wall_offset_ += by;
  ledger_->CoordinatorClockSet();
}

std::optional<nanoseconds> SimulatedCoordinator::NextWakeUp() const {
  if (core_ == nullptr) return std::nullopt;
  const std::optional<nanoseconds> at = core_->NextWakeUp();
  if (at && in_flight_ && *at > in_flight_since_ + kSlowCommit) return std::nullopt;
  return at;
}

void SimulatedCoordinator::ArmTick() {
  const std::optional<nanoseconds> at = NextWakeUp();
  if (!at || (armed_ && *armed_ <= *at)) return;
  armed_ = std::max(*at, timeline_->now());
  timeline_->At(*armed_, [this, incarnation = incarnation_, time = *armed_] {
    if (incarnation != incarnation_ || armed_ != time || stopped()) return;
    armed_.reset();
    if (const auto due = NextWakeUp(); due && *due <= timeline_->now()) {
      core_->Tick(Now(), &pending_.actions);
      if (core_->NextWakeUp() && *core_->NextWakeUp() <= timeline_->now())
        ledger_->Fail("a timer that is due stays due");
    }
    AfterEvent();
  });
}

void SimulatedCoordinator::AfterEvent() {
  ledger_->Decided(std::span(pending_.actions.mutations).subspan(decided_));
  decided_ = pending_.actions.mutations.size();
  Flush();
  ArmTick();
}

void SimulatedCoordinator::Flush() {
  while (core_ != nullptr && !in_flight_ && !pending_.empty()) {
    Batch batch = std::exchange(pending_, {});
    decided_ = 0;
    if (batch.actions.mutations.empty()) {
      Release(std::move(batch));
      continue;
    }
    if (Mutated("ack_before_commit")) {
      Batch early;
      early.actions.outputs = std::exchange(batch.actions.outputs, {});
      Release(std::move(early));
      if (core_ == nullptr) return;
    }
    in_flight_ = std::move(batch);
    in_flight_since_ = timeline_->now();
    write_fails_ = disk_full_;
    timeline_->After(random_->Between(microseconds(200), commit_time_), [this, incarnation = incarnation_] {
      if (incarnation != incarnation_ || !in_flight_) return;
      if (stopped()) {
        commit_waits_ = true;
      } else {
        FinishCommit();
      }
    });
  }
}

void SimulatedCoordinator::FinishCommit() {
  if (!in_flight_) return;
  if (write_fails_ || disk_full_) {
    EnterRecovery();
  } else {
    OnCommitted();
  }
}

void SimulatedCoordinator::OnCommitted() {
  retry_pause_ = kMinRetry;
  Batch batch = std::move(*in_flight_);
  in_flight_.reset();
  if (timeline_->now() - in_flight_since_ > kSlowCommit) {
    const nanoseconds begun = batch.credits.empty() ? in_flight_since_ : std::min(batch.first_heard, in_flight_since_);
    core_->ForgiveSilence(Now(), timeline_->now() - std::max(begun, forgiven_until_));
    forgiven_until_ = timeline_->now();
    // Words that were not read are words.
    for (const auto& [number, session] : sessions_) {
      if (session.waiting >= kMaxWaitingMessages && newest_[session.device_id] == number) {
        ledger_->Heard(session.device_id);
      }
    }
  }
  Commit(batch.actions.mutations);
  Release(std::move(batch));
  AfterEvent();
}

void SimulatedCoordinator::Release(Batch batch) {
  std::size_t next = 0;
  const auto release_until = [&](std::size_t end) {
    for (; next < end && next < batch.actions.outputs.size() && core_ != nullptr; ++next)
      ReleaseOutput(std::move(batch.actions.outputs[next]));
  };
  for (auto& [before, reply] : batch.replies) {
    release_until(before);
    reply();
  }
  release_until(batch.actions.outputs.size());
  for (const auto& [number, messages] : batch.credits) {
    const auto session = sessions_.find(number);
    if (session == sessions_.end()) continue;
    session->second.waiting -= messages;
    timeline_->After(nanoseconds(0), [network = network_, connection = session->second.connection] {
      network->ContinueUp(connection);
    });
  }
}

void SimulatedCoordinator::CheckWelcome(core::SessionId welcomed) {
  const std::string& device_id = sessions_.at(welcomed).device_id;
  for (const auto& [number, session] : sessions_) {
    if (number < welcomed && session.device_id == device_id)
      ledger_->Fail(fmt::format("{} has a new session, and its old one was not ended", device_id));
  }
}

void SimulatedCoordinator::ReleaseOutput(core::Output output) {
  if (auto* send = std::get_if<core::SendMessage>(&output)) {
    const auto session = sessions_.find(send->session);
    if (session == sessions_.end()) return;
    ledger_->Said(session->second.device_id, send->session, send->message);
    if (send->message.has_welcome()) CheckWelcome(send->session);
    if (trace) trace(fmt::format("coordinator → {}: {}", session->second.device_id, send->message.ShortDebugString()));
    network_->SendDown(session->second.connection, std::move(send->message));
  } else if (auto* end = std::get_if<core::EndSession>(&output)) {
    const auto session = sessions_.find(end->session);
    if (session == sessions_.end()) return;
    if (trace) trace(fmt::format("coordinator ends session {}: {}", end->session, end->status.ToString()));
    const ConnectionPointer connection = session->second.connection;
    sessions_.erase(session);
    network_->CloseFromCoordinator(connection, std::move(end->status), false);
  } else if (auto* load = std::get_if<core::LoadRun>(&output)) {
    const auto run = ledger_->runs().find(load->run_id);
    core_->RunLoaded(
        Now(), load->run_id,
        run == ledger_->runs().end() ? absl::StatusOr<v1::Run>(absl::NotFoundError("no run")) : run->second,
        &pending_.actions);
  } else if (auto* want = std::get_if<core::WantJob>(&output)) {
    // Another thread finds out what it names, and may be overtaken by the coordinator's end.
    timeline_->After(random_->Between(milliseconds(1), seconds(2)),
                     [this, incarnation = incarnation_, want = std::move(*want)] {
                       if (incarnation == incarnation_) SubmitWanted(want);
                     });
  }
}

}  // namespace ballast::simulation
