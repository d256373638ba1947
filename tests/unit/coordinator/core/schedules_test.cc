// Random schedules: a core, a store that commits whole batches in order, and a few workers, with crashes, reconnects,
// duplicates and delays at every step. What must hold holds in all of them. The seed of a failing schedule is printed,
// and BALLAST_SCHEDULE_SEED runs that one alone.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "coordinator/core/core.h"
#include "coordinator/core/run_transitions.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator/core/core_fixture.h"

namespace ballast::core {
namespace {

// Without optimisation a schedule takes several times as long.
#ifdef NDEBUG
constexpr std::uint64_t kSchedules = 20'000;
#else
constexpr std::uint64_t kSchedules = 4'000;
#endif
constexpr int kFaultySteps = 60;
constexpr int kDevices = 3;

using AttemptKey = std::pair<std::string, std::uint32_t>;

// An attempt on a device: its log, with the records that were not acknowledged yet. Survives the worker's crash, like
// the spool.
struct ModelAttempt {
  std::map<std::uint64_t, v1::Record> unacked;
  std::uint64_t next_seq = 1;
  bool finished = false;
  bool set_aside = false;  // the coordinator does not know the run
};

struct ModelWorker {
  std::string device_id;
  SessionId session = 0;                        // 0: not connected
  std::deque<v1::WorkerMessage> outbox;         // on the way to the coordinator
  std::deque<v1::CoordinatorMessage> inbox;     // on the way to the worker
  std::map<AttemptKey, ModelAttempt> attempts;  // the spool
  std::optional<AttemptKey> active;
  std::set<AttemptKey> carried_out;
};

class Schedule {
 public:
  explicit Schedule(std::uint64_t seed) : random_(seed) {
    now_.wall = base::SystemTime(seconds(1'700'000'000));
    now_.steady = seconds(1000);
    options_.version = "test";
    core_ = std::make_unique<Core>(options_);
    for (int i = 0; i < kDevices; ++i) workers_[static_cast<std::size_t>(i)].device_id = fmt::format("d{}", i);
  }

  // Returns what went wrong; empty where nothing did.
  std::string Play() {
    for (int i = 0; i < kFaultySteps && problem_.empty(); ++i) FaultyStep();
    // Faults stop: everyone connects and everything is delivered until nothing moves any more.
    for (ModelWorker& worker : workers_) {
      if (worker.session == 0) Connect(&worker);
    }
    for (int round = 0; round < 400 && problem_.empty() && !AllEnded(); ++round) QuietRound();
    for (int round = 0; round < 8 && problem_.empty(); ++round) QuietRound();
    if (problem_.empty()) CheckEnd();
    return problem_;
  }

 private:
  std::uint64_t Pick(std::uint64_t n) { return random_() % n; }

  void Fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  // --- the coordinator ---

  void Absorb() {
    for (Mutation& mutation : actions_.mutations) pending_.mutations.push_back(std::move(mutation));
    for (Output& output : actions_.outputs) pending_.outputs.push_back(std::move(output));
    actions_ = {};
  }

  // What is pending becomes durable and its messages leave: output commit.
  void Commit() {
    Actions batch = std::exchange(pending_, {});
    for (const Mutation& mutation : batch.mutations) {
      if (const auto* put = std::get_if<PutRun>(&mutation)) CheckAttempts(put->run);
      if (const auto* put = std::get_if<PutDevice>(&mutation)) {
        if (put->device.state() == v1::Device::READY && !put->device.active_run_id().empty()) {
          Fail(put->device.device_id() + " is ready and has a run");
        }
      }
      if (std::string wrong = kept_.Apply(mutation); !wrong.empty()) Fail(wrong);
    }
    CheckStored();
    for (const auto& [job_id, job] : kept_.jobs) {
      if (job.cancel_requested()) cancelled_jobs_.insert(job_id);
    }
    for (Output& output : batch.outputs) {
      if (auto* send = std::get_if<SendMessage>(&output)) {
        CheckAck(send->message);
        for (ModelWorker& worker : workers_) {
          if (worker.session == send->session) worker.inbox.push_back(std::move(send->message));
        }
      } else if (auto* end = std::get_if<EndSession>(&output)) {
        for (ModelWorker& worker : workers_) {
          if (worker.session == end->session) Cut(&worker);
        }
      } else if (auto* load = std::get_if<LoadRun>(&output)) {
        const auto run = kept_.runs.find(load->run_id);
        core_->RunLoaded(now_, load->run_id,
                         run == kept_.runs.end() ? absl::StatusOr<v1::Run>(absl::NotFoundError("no run")) : run->second,
                         &actions_);
        Absorb();
      }
    }
  }

  void CrashCoordinator() {
    for (ModelWorker& worker : workers_) Cut(&worker);
    dead_sessions_.clear();
    pending_ = {};
    core_ = std::make_unique<Core>(options_);
    const absl::Status status = kept_.RestoreInto(core_.get(), now_, &actions_);
    if (!status.ok()) Fail(status.ToString());
    Absorb();
  }

  void Tick() {
    if (core_->NextWakeUp() && *core_->NextWakeUp() <= now_.steady) {
      core_->Tick(now_, &actions_);
      Absorb();
      if (core_->NextWakeUp() && *core_->NextWakeUp() <= now_.steady) Fail("a timer that is due stays due");
    }
  }

  void Submit() {
    v1::JobSpec spec;
    spec.mutable_workload()->mutable_pressure()->mutable_burst();
    spec.set_repetitions(1 + static_cast<std::uint32_t>(Pick(2)));
    spec.set_priority(static_cast<std::int32_t>(Pick(3)));
    spec.mutable_policy()->set_max_attempts(1 + static_cast<std::uint32_t>(Pick(3)));
    *spec.mutable_policy()->mutable_lost_after() = base::ToProto(seconds(30 + 60 * Pick(2)));
    if (Pick(2) == 0) *spec.mutable_policy()->mutable_timeout() = base::ToProto(seconds(20));
    if (Pick(2) == 0) {
      spec.mutable_devices()->set_all(true);
    } else {
      spec.mutable_devices()->add_device_ids(workers_[Pick(kDevices)].device_id);
    }
    (void)core_->Submit(now_, {fmt::format("j-{}", next_job_++), spec, "", ""}, &actions_);
    Absorb();
  }

  void Cancel() {
    if (kept_.job_order.empty()) return;
    const std::string job_id = kept_.job_order[Pick(kept_.job_order.size())];
    (void)core_->CancelJob(now_, job_id, &actions_);
    Absorb();
  }

  // --- the workers ---

  void Connect(ModelWorker* worker) {
    if (worker->session != 0) {
      // The old stream is not known to be dead yet: what it carries may arrive after the new hello.
      dead_sessions_.emplace_back(worker->session, std::move(worker->outbox));
    }
    worker->outbox.clear();
    worker->inbox.clear();
    worker->session = next_session_++;
    v1::WorkerMessage message;
    v1::Hello* hello = message.mutable_hello();
    hello->set_device_id(worker->device_id);
    hello->set_protocol_version(1);
    hello->mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
    for (const auto& [key, attempt] : worker->attempts) {
      if (attempt.set_aside || (attempt.unacked.empty() && worker->active != key)) continue;
      v1::HeldAttempt* held = hello->add_held_attempts();
      held->set_run_id(key.first);
      held->set_attempt(key.second);
      held->set_active(worker->active == key);
    }
    worker->outbox.push_back(std::move(message));
    for (const auto& [key, attempt] : worker->attempts) {
      if (attempt.set_aside) continue;
      for (const auto& [seq, record] : attempt.unacked) SendRecord(worker, record);
    }
  }

  // The stream breaks; the coordinator hears of it.
  void Cut(ModelWorker* worker) {
    if (worker->session == 0) return;
    core_->Disconnect(now_, worker->session, &actions_);
    Absorb();
    worker->session = 0;
    worker->outbox.clear();
    worker->inbox.clear();
  }

  static void SendRecord(ModelWorker* worker, const v1::Record& record) {
    if (worker->session == 0) return;
    v1::WorkerMessage message;
    *message.mutable_record() = record;
    worker->outbox.push_back(std::move(message));
  }

  v1::Record& Append(ModelWorker* worker, const AttemptKey& key) {
    ModelAttempt& attempt = worker->attempts[key];
    v1::Record& record = attempt.unacked[attempt.next_seq];
    record.set_run_id(key.first);
    record.set_attempt(key.second);
    record.set_seq(attempt.next_seq++);
    return record;
  }

  void Begin(ModelWorker* worker, const AttemptKey& key) {
    if (worker->active == key || worker->carried_out.contains(key)) return;  // a repeated assignment
    if (worker->active) {
      v1::WorkerMessage message;
      message.mutable_assignment_rejected()->set_run_id(key.first);
      message.mutable_assignment_rejected()->set_attempt(key.second);
      message.mutable_assignment_rejected()->set_reason("busy");
      worker->outbox.push_back(std::move(message));
      return;
    }
    if (const auto run = kept_.runs.find(key.first); run == kept_.runs.end() || LastAttempt(run->second) < key.second) {
      Fail(fmt::format("{}/{} was assigned before it was stored", key.first, key.second));
    }
    worker->active = key;
    worker->carried_out.insert(key);
    v1::Record& record = Append(worker, key);
    record.mutable_started()->set_boot_id("boot");
    SendRecord(worker, record);
  }

  void End(ModelWorker* worker, v1::OutcomeKind kind) {
    const AttemptKey key = *std::exchange(worker->active, std::nullopt);
    v1::Record& record = Append(worker, key);
    record.mutable_finished()->mutable_result()->mutable_outcome()->set_kind(kind);
    record.mutable_finished()->mutable_result()->mutable_outcome()->mutable_evidence();
    worker->attempts[key].finished = true;
    results_[key] = kind;
    SendRecord(worker, record);
  }

  void Work(ModelWorker* worker) {
    if (!worker->active) return;
    if (Pick(3) != 0) {
      v1::Record& record = Append(worker, *worker->active);
      record.mutable_chunk()->set_body("x");
      SendRecord(worker, record);
      return;
    }
    static constexpr v1::OutcomeKind kKinds[] = {v1::COMPLETED, v1::COMPLETED, v1::OOM_KILLED, v1::WORKER_CRASHED,
                                                 v1::GUARD_STOPPED};
    End(worker, kKinds[Pick(std::size(kKinds))]);
  }

  // The worker's process dies and starts again: what it was doing ends by its journal.
  void CrashWorker(ModelWorker* worker) {
    Cut(worker);
    if (worker->active) End(worker, Pick(2) == 0 ? v1::WORKER_CRASHED : v1::DEVICE_REBOOTED);
  }

  // The device's disk is replaced: everything it knew is gone.
  void Forget(ModelWorker* worker) {
    Cut(worker);
    worker->active.reset();
    worker->attempts.clear();
    worker->carried_out.clear();
  }

  void Beat(ModelWorker* worker) {
    if (worker->session == 0) return;
    v1::WorkerMessage message;
    v1::Heartbeat* heartbeat = message.mutable_heartbeat();
    if (worker->active) {
      heartbeat->set_active_run_id(worker->active->first);
      heartbeat->set_active_attempt(worker->active->second);
    }
    std::uint64_t bytes = 0;
    for (const auto& [key, attempt] : worker->attempts) bytes += attempt.set_aside ? 0 : attempt.unacked.size();
    heartbeat->set_spool_bytes(bytes);
    worker->outbox.push_back(std::move(message));
  }

  void DeliverToCoordinator(ModelWorker* worker) {
    if (worker->outbox.empty()) return;
    v1::WorkerMessage message = std::move(worker->outbox.front());
    worker->outbox.pop_front();
    if (!message.has_hello() && Pick(8) == 0) {
      core_->Receive(now_, worker->session, message, &actions_);  // twice
      Absorb();
    }
    core_->Receive(now_, worker->session, std::move(message), &actions_);
    Absorb();
  }

  void DeliverFromTheDead() {
    if (dead_sessions_.empty()) return;
    auto& [session, messages] = dead_sessions_[Pick(dead_sessions_.size())];
    if (messages.empty()) {
      core_->Disconnect(now_, session, &actions_);
    } else if (messages.front().has_hello()) {
      messages.clear();  // the stream was gone before it was accepted
    } else {
      core_->Receive(now_, session, std::move(messages.front()), &actions_);
      messages.pop_front();
    }
    Absorb();
  }

  void DeliverToWorker(ModelWorker* worker) {
    if (worker->inbox.empty()) return;
    const v1::CoordinatorMessage message = std::move(worker->inbox.front());
    worker->inbox.pop_front();
    if (message.has_assignment()) {
      Begin(worker, {message.assignment().run_id(), message.assignment().attempt()});
    } else if (message.has_cancel()) {
      if (worker->active == AttemptKey(message.cancel().run_id(), message.cancel().attempt())) {
        End(worker, message.cancel().outcome());
      }
    } else if (message.has_ack()) {
      const auto attempt = worker->attempts.find({message.ack().run_id(), message.ack().attempt()});
      if (attempt == worker->attempts.end()) return;
      for (const std::uint64_t seq : message.ack().seqs()) attempt->second.unacked.erase(seq);
      if (attempt->second.finished && attempt->second.unacked.empty()) worker->attempts.erase(attempt);
    } else if (message.has_record_rejected()) {
      const auto attempt =
          worker->attempts.find({message.record_rejected().run_id(), message.record_rejected().attempt()});
      if (attempt != worker->attempts.end()) attempt->second.set_aside = true;
      Fail(fmt::format("records of {} were rejected: {}", message.record_rejected().run_id(),
                       message.record_rejected().reason()));
    }
  }

  // --- schedules ---

  void Pass(std::chrono::nanoseconds time) {
    now_.wall += time;
    now_.steady += time;
    Tick();
  }

  void FaultyStep() {
    ModelWorker* worker = &workers_[Pick(kDevices)];
    switch (Pick(24)) {
      case 0:
        Submit();
        break;
      case 1:
        Cancel();
        break;
      case 2:
        Connect(worker);
        break;
      case 3:
        Cut(worker);
        break;
      case 4:
        CrashWorker(worker);
        break;
      case 5:
        if (Pick(3) == 0) CrashCoordinator();
        break;
      case 6:
        if (Pick(6) == 0) Forget(worker);
        break;
      case 7:
        Pass(milliseconds(100 + Pick(60'000)));
        break;
      case 8:
        DeliverFromTheDead();
        break;
      case 9:
        Beat(worker);
        break;
      case 10:
      case 11:
      case 12:
        Work(worker);
        break;
      case 13:
      case 14:
      case 15:
        Commit();
        break;
      case 16:
      case 17:
      case 18:
      case 19:
        if (worker->session == 0) Connect(worker);
        DeliverToCoordinator(worker);
        break;
      default:
        DeliverToWorker(worker);
    }
  }

  void QuietRound() {
    Pass(seconds(2));
    for (ModelWorker& worker : workers_) {
      if (worker.session == 0) Connect(&worker);
      Beat(&worker);
      Work(&worker);
      while (!worker.outbox.empty()) DeliverToCoordinator(&worker);
    }
    Commit();
    for (ModelWorker& worker : workers_) {
      while (!worker.inbox.empty()) DeliverToWorker(&worker);
    }
  }

  // --- what must hold ---

  void CheckStored() {
    std::map<std::string, std::string> active_of;
    for (const auto& [run_id, run] : kept_.runs) {
      if (IsEnded(run) != run.has_outcome())
        Fail(run_id + " has an outcome although it has not ended, or none although it has");
      if (IsEnded(run) && run.outcome().kind() == v1::OUTCOME_KIND_UNSPECIFIED)
        Fail(run_id + " ended without an outcome");
      if (IsActive(run) && !active_of.emplace(run.device_id(), run_id).second) {
        Fail(fmt::format("{} has {} and {} at once", run.device_id(), active_of[run.device_id()], run_id));
      }
    }
  }

  // Before a run is stored: what was cancelled is not begun again.
  void CheckAttempts(const v1::Run& run) {
    const auto before = kept_.runs.find(run.run_id());
    if (before == kept_.runs.end() || !kept_.jobs.at(run.job_id()).cancel_requested()) return;
    if (LastAttempt(run) > LastAttempt(before->second) && cancelled_jobs_.contains(run.job_id())) {
      Fail(run.run_id() + " got another attempt after it was cancelled");
    }
  }

  void CheckAck(const v1::CoordinatorMessage& message) {
    if (!message.has_ack()) return;
    const v1::RecordAck& ack = message.ack();
    const AttemptKey key(ack.run_id(), ack.attempt());
    const auto run = kept_.runs.find(ack.run_id());
    if (run == kept_.runs.end()) return Fail("acknowledged a record of a run that is not stored");
    for (const std::uint64_t seq : ack.seqs()) {
      if (const v1::Record* record = FindUnacked(key, seq)) {
        if (record->has_chunk() && !kept_.chunks.contains({ack.run_id(), ack.attempt(), seq})) {
          Fail(fmt::format("acknowledged {}/{} {} without storing it", ack.run_id(), ack.attempt(), seq));
        }
        if (record->has_finished() && !HasDeviceResult(run->second, ack.attempt())) {
          Fail(fmt::format("acknowledged the end of {}/{} without storing it", ack.run_id(), ack.attempt()));
        }
      }
    }
  }

  const v1::Record* FindUnacked(const AttemptKey& key, std::uint64_t seq) {
    for (const ModelWorker& worker : workers_) {
      const auto attempt = worker.attempts.find(key);
      if (attempt == worker.attempts.end()) continue;
      const auto record = attempt->second.unacked.find(seq);
      if (record != attempt->second.unacked.end()) return &record->second;
    }
    return nullptr;
  }

  bool AllEnded() {
    return std::all_of(kept_.runs.begin(), kept_.runs.end(), [](const auto& run) { return IsEnded(run.second); }) &&
           pending_.mutations.empty();
  }

  void CheckEnd() {
    for (const auto& [job_id, job] : kept_.jobs) {
      std::uint32_t ended = 0;
      std::uint32_t completed = 0;
      for (const auto& [run_id, run] : kept_.runs) {
        if (run.job_id() != job_id) continue;
        if (!IsEnded(run)) Fail(fmt::format("{} did not end: {}", run_id, run.ShortDebugString()));
        ++ended;
        if (run.outcome().kind() == v1::COMPLETED) ++completed;
      }
      if (ended != job.run_count() || job.ended_run_count() != ended || job.expected_run_count() != completed) {
        Fail(fmt::format("{} is counted wrongly: {}", job_id, job.ShortDebugString()));
      }
      const v1::Job::State state = job.cancel_requested() ? v1::Job::CANCELLED : v1::Job::FINISHED;
      if (job.state() != state) Fail(fmt::format("{} ended as {}", job_id, v1::Job::State_Name(job.state())));
    }
    for (const ModelWorker& worker : workers_) {
      for (const auto& [key, attempt] : worker.attempts) {
        if (!attempt.unacked.empty()) Fail(fmt::format("records of {}/{} stay unacknowledged", key.first, key.second));
      }
    }
    // The outcome is what the device said of the last attempt, unless the coordinator gave it up.
    for (const auto& [run_id, run] : kept_.runs) {
      if (run.attempts().empty()) continue;
      const v1::Attempt& last = run.attempts(run.attempts_size() - 1);
      if (last.given_up()) continue;
      const auto said = results_.find({run_id, last.attempt()});
      if (last.has_result() && said != results_.end() && run.outcome().kind() != said->second) {
        Fail(fmt::format("{} ended {} but its device said {}", run_id, v1::OutcomeKind_Name(run.outcome().kind()),
                         v1::OutcomeKind_Name(said->second)));
      }
    }
  }

  std::mt19937_64 random_;
  CoreOptions options_;
  Instant now_;
  std::unique_ptr<Core> core_;
  KeptState kept_;
  Actions actions_;
  Actions pending_;  // what is not committed yet
  std::array<ModelWorker, kDevices> workers_;
  std::vector<std::pair<SessionId, std::deque<v1::WorkerMessage>>> dead_sessions_;
  std::map<AttemptKey, v1::OutcomeKind> results_;  // what devices said
  std::set<std::string> cancelled_jobs_;           // by what was committed
  SessionId next_session_ = 1;
  int next_job_ = 1;
  std::string problem_;
};

TEST(SchedulesTest, WhatMustHoldHoldsUnderCrashesReconnectsDuplicatesAndDelays) {
  if (const char* only = std::getenv("BALLAST_SCHEDULE_SEED")) {
    EXPECT_EQ(Schedule(std::strtoull(only, nullptr, 10)).Play(), "");
    return;
  }
  for (std::uint64_t seed = 1; seed <= kSchedules; ++seed) {
    const std::string problem = Schedule(seed).Play();
    ASSERT_EQ(problem, "") << "in schedule " << seed << "; BALLAST_SCHEDULE_SEED=" << seed << " runs it alone";
  }
}

}  // namespace
}  // namespace ballast::core
