#include "tests/simulation/simulated_device.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "tests/simulation/mutation.h"
#include "worker/agent/recovery.h"

namespace ballast::simulation {
namespace {

constexpr char kDirectory[] = "/data";
constexpr seconds kRetryWrite(1);
constexpr seconds kRestartPause(5);

}  // namespace

struct SimulatedDevice::Process {
  agent::PeerClock clock;
  std::unique_ptr<agent::Spool> spool;
  std::unique_ptr<agent::SpoolReader> reader;
  agent::RunDesk desk;
  std::unique_ptr<agent::SessionCore> session;
  ConnectionPointer connection;
  std::optional<Execution> execution;
  std::optional<nanoseconds> pump_at;
  bool write_planned = false;
};

SimulatedDevice::SimulatedDevice(std::size_t index, Timeline* timeline, Random* random, Network* network,
                                 Ledger* ledger)
    : index_(index),
      id_(fmt::format("d{}", index)),
      timeline_(timeline),
      random_(random),
      network_(network),
      ledger_(ledger),
      disk_(random),
      wall_offset_(random->Between(seconds(0), hours(48))) {
  segment_bytes_ = random_->OneIn(2) ? 1U << 20U : 400;
  quota_bytes_ = random_->OneIn(4) ? 6'000 : 1U << 20U;
  // A disk that the spool itself fills, as long as nobody acknowledges: several small segments fit.
  if (segment_bytes_ == 400 && random_->OneIn(2)) {
    disk_.SetCapacity(1800 + random_->Below(1200));
    chunk_padding_.assign(120, '.');
  }
  timeline_->After(random_->Between(seconds(0), seconds(2)), [this, life = life_] {
    if (life == life_) Start();
  });
}

SimulatedDevice::~SimulatedDevice() = default;

void SimulatedDevice::After(nanoseconds delay, std::function<void()> act) {
  timeline_->After(delay, [this, life = life_, act = std::move(act)] {
    if (life == life_ && process_ != nullptr) act();
  });
}

void SimulatedDevice::Start() {
  ++life_;
  stalled_until_ = nanoseconds(0);
  process_ = std::make_unique<Process>();
  std::vector<agent::CutOffAttempt> cut_off;
  auto spool = agent::Spool::Open({.directory = kDirectory,
                                   .quota_bytes = quota_bytes_,
                                   .segment_bytes = segment_bytes_,
                                   .disk = &disk_,
                                   .own_thread = false},
                                  &cut_off);
  if (disk_.stopped() || !spool.ok()) {
    if (!disk_.stopped() && !absl::IsUnavailable(spool.status())) ledger_->Fail(spool.status().ToString());
    CrashWorker(kRestartPause);
    return;
  }
  process_->spool = *std::move(spool);
  process_->reader = std::make_unique<agent::SpoolReader>(process_->spool.get());
  process_->session = std::make_unique<agent::SessionCore>(
      agent::SessionIdentity{.device_id = id_, .labels = {}, .reconnect_max = seconds(10)}, process_->spool.get(), this,
      &process_->clock, random_->Next());
  CheckSurvived();
  process_->spool->SetListener([this] {
    process_->session->RecordsWait();
    PumpSoon(timeline_->now());
  });
  agent::EndCutOffAttempts(cut_off, {.boot_id = fmt::format("boot-{}", boot_), .boot_time = {}, .crash_records = {}},
                           process_->spool.get());
  if (!Lives()) return;
  WriteSoon(nanoseconds(0));
  After(random_->Between(milliseconds(1), milliseconds(100)), [this] { Connect(); });
}

void SimulatedDevice::CheckSurvived() {
  std::set<std::pair<agent::AttemptKey, std::uint64_t>> held;
  agent::SpoolReader reader(process_->spool.get());
  while (const std::optional<v1::Record> record = reader.Next())
    held.emplace(agent::AttemptKey{record->run_id(), record->attempt()}, record->seq());
  ledger_->CheckSurvived(id_, held);
}

void SimulatedDevice::EndProcess(bool silent) {
  ++life_;
  if (process_ == nullptr) return;
  if (process_->execution && process_->execution->started) ledger_->RunnerEnded(id_);
  if (process_->connection != nullptr) network_->CloseFromWorker(process_->connection, silent);
  process_.reset();
}

void SimulatedDevice::CrashWorker(nanoseconds pause) {
  if (process_ == nullptr) return;
  EndProcess(false);
  disk_.ProcessDied();
  timeline_->After(pause, [this, life = life_] {
    if (life == life_) Start();
  });
}

void SimulatedDevice::CutPower(std::optional<nanoseconds> pause) {
  EndProcess(true);
  disk_.PowerCut();
  ++boot_;
  if (!pause) return;
  timeline_->After(*pause, [this, life = life_] {
    if (life == life_) Start();
  });
}

void SimulatedDevice::ReplaceDisk(nanoseconds pause) {
  CutPower(pause);
  disk_.Replace();
  ledger_->DiskReplaced(id_);
}

void SimulatedDevice::KillRunner() {
  if (!has_runner() || process_->execution->asked) return;
  process_->execution->end = v1::OOM_KILLED;
  process_->execution->asked = true;
  EndRun();
}

void SimulatedDevice::Stall(nanoseconds time) {
  if (process_ == nullptr) return;
  stalled_until_ = std::max(stalled_until_, timeline_->now() + time);
  After(stalled_until_ - timeline_->now(), [this] {
    if (!Reads()) return;  // stalled again
    if (process_->connection != nullptr) network_->ContinueDown(process_->connection);
    if (process_ != nullptr) Pump();
  });
}

bool SimulatedDevice::idle() const {
  return process_ != nullptr && process_->spool->Held().empty() && !process_->execution;
}

bool SimulatedDevice::has_runner() const {
  return process_ != nullptr && process_->execution && process_->execution->started;
}

std::set<agent::AttemptKey> SimulatedDevice::Held() const {
  std::set<agent::AttemptKey> held;
  if (process_ == nullptr) return held;
  for (agent::AttemptKey& key : process_->spool->Held()) held.insert(std::move(key));
  if (process_->desk.active()) held.insert(*process_->desk.active());
  return held;
}

bool SimulatedDevice::Lives() {
  if (process_ == nullptr) return false;
  if (!disk_.stopped()) return true;
  if (on_crash_in_write) on_crash_in_write();
  if (random_->OneIn(2)) {
    CrashWorker(random_->Between(milliseconds(10), seconds(10)));
  } else {
    CutPower(random_->Between(seconds(5), seconds(40)));
  }
  return false;
}

// --- the session ---

void SimulatedDevice::Connect() {
  if (process_->connection != nullptr) return;
  v1::DeviceFacts facts;
  facts.add_capabilities(v1::WORKLOAD_PRESSURE);
  process_->connection = network_->Open(index_);
  if (!Mutated("unacked_not_sent_again")) process_->reader->Rewind();
  network_->SendUp(process_->connection, process_->session->Begin(timeline_->now(), std::move(facts)));
  Pump();
}

void SimulatedDevice::OnDown(const ConnectionPointer& connection, const v1::CoordinatorMessage& message) {
  if (process_ == nullptr || process_->connection != connection) return;
  process_->session->Hear(timeline_->now(), message);
  if (message.has_ack()) ledger_->AckArrived(message.ack());
  if (message.has_record_rejected()) ledger_->Rejected(message.record_rejected());
  agent::CarryOut(message, this, process_->spool.get());
  WriteSoon(random_->Between(nanoseconds(0), milliseconds(20)));
  PumpSoon(timeline_->now());
}

void SimulatedDevice::OnDownEnd(const ConnectionPointer& connection, const absl::Status& status) {
  if (process_ == nullptr || process_->connection != connection) return;
  process_->connection = nullptr;
  if (trace) trace(fmt::format("{} lost its session: {}", id_, status.ToString()));
  After(process_->session->End(status), [this] { Connect(); });
}

void SimulatedDevice::PumpSoon(nanoseconds at) {
  at = std::max(at, timeline_->now());
  if (process_->pump_at && *process_->pump_at <= at) return;
  process_->pump_at = at;
  After(at - timeline_->now(), [this, at] {
    if (process_->pump_at == at) Pump();
  });
}

void SimulatedDevice::Pump() {
  process_->pump_at.reset();
  while (process_->connection != nullptr && Reads()) {
    const ConnectionPointer connection = process_->connection;
    if (!network_->WorkerCanWrite(*connection)) {
      PumpSoon(timeline_->now() + milliseconds(100));
      return;
    }
    agent::SessionCore::Step step = process_->session->Next(timeline_->now());
    switch (step.kind) {
      case agent::SessionCore::Step::Kind::kWait:
        PumpSoon(step.until);
        return;
      case agent::SessionCore::Step::Kind::kSend:
        network_->SendUp(connection, std::move(step.message));
        break;
      case agent::SessionCore::Step::Kind::kRecord: {
        std::optional<v1::Record> record = process_->reader->Next();
        process_->session->RecordRead(record.has_value());
        if (!record) break;
        ledger_->Sent(id_, *record);
        if (trace) trace(fmt::format("{} sends {}@{} {}", id_, record->run_id(), record->attempt(), record->seq()));
        v1::WorkerMessage message;
        message.mutable_record()->Swap(&*record);
        network_->SendUp(connection, std::move(message));
        break;
      }
      case agent::SessionCore::Step::Kind::kEnd:
        network_->CloseFromWorker(connection, false);
        OnDownEnd(connection, step.problem);
        return;
    }
  }
}

// --- the spool ---

void SimulatedDevice::WriteSoon(nanoseconds delay) {
  if (std::exchange(process_->write_planned, true)) return;
  After(delay, [this] {
    process_->write_planned = false;
    Write();
  });
}

void SimulatedDevice::Write() {
  const bool written = process_->spool->WriteQueued();
  if (!Lives()) return;
  if (!written) WriteSoon(kRetryWrite);
}

// --- runs ---

void SimulatedDevice::Assign(const v1::Assignment& assignment) {
  const agent::AttemptKey key{assignment.run_id(), assignment.attempt()};
  const agent::AssignmentVerdict verdict = process_->desk.Judge(key, process_->spool->Contains(key), false);
  if (verdict.kind == agent::AssignmentVerdict::Kind::kIgnore) return;
  if (verdict.kind == agent::AssignmentVerdict::Kind::kRefuse) {
    v1::AssignmentRejected rejected;
    rejected.set_run_id(key.run_id);
    rejected.set_attempt(key.attempt);
    rejected.set_reason(verdict.reason);
    process_->session->Tell(rejected);
    return;
  }
  process_->desk.Begin(key);
  process_->execution.emplace();
  process_->execution->key = key;
  process_->execution->assignment = assignment;
  After(random_->Between(milliseconds(1), random_->OneIn(8) ? seconds(5) : milliseconds(200)), [this, key] {
    if (process_->execution && process_->execution->key == key) BeginRun();
  });
}

std::optional<v1::ClockOffset> SimulatedDevice::MeasuredOffset() {
  std::optional<v1::ClockOffset> offset = process_->clock.OffsetAt(wall(), timeline_->now());
  if (offset) ledger_->ClockOffset(*offset, coordinator_wall() - wall());
  return offset;
}

void SimulatedDevice::BeginRun() {
  Execution& execution = *process_->execution;
  const agent::AttemptKey key = execution.key;
  v1::AssignmentRejected rejected;
  if (random_->OneIn(40)) rejected.set_outcome(v1::INVALID);  // nothing that this worker can do
  if (rejected.outcome() == v1::OUTCOME_KIND_UNSPECIFIED) {
    v1::AttemptStarted started;
    started.set_boot_id(fmt::format("boot-{}", boot_));
    *started.mutable_start_time() = base::ToProto(wall());
    if (const auto offset = MeasuredOffset()) *started.mutable_clock_offset() = *offset;
    const absl::Status status =
        Mutated("intent_not_journalled") ? absl::OkStatus() : process_->spool->Begin(key, started);
    if (!Lives()) return;
    if (status.ok()) {
      execution.started = true;
      ledger_->RunnerStarted(id_, key);
      if (trace) trace(fmt::format("{} starts {}", id_, ToText(key)));
      execution.end_time = timeline_->now() + random_->Between(seconds(1), seconds(25));
      const nanoseconds timeout = base::FromProto(execution.assignment.spec().policy().timeout());
      if (timeout > nanoseconds(0) && execution.end_time > timeline_->now() + timeout) {
        execution.end_time = timeline_->now() + timeout;
        if (!execution.asked) execution.end = v1::TIMED_OUT;
      }
      execution.interval = random_->Between(milliseconds(500), seconds(5));
      if (execution.asked) execution.end_time = timeline_->now();
      After(std::min(execution.interval, execution.end_time - timeline_->now()), [this, key] {
        if (process_->execution && process_->execution->key == key) Sample();
      });
      return;
    }
    rejected.set_reason(std::string(status.message()));
  }
  rejected.set_run_id(key.run_id);
  rejected.set_attempt(key.attempt);
  process_->session->Tell(rejected);
  process_->execution.reset();
  process_->desk.End(false);
  WriteSoon(nanoseconds(0));
  PumpSoon(timeline_->now());
}

v1::Chunk SimulatedDevice::NextChunk() {
  v1::Chunk chunk;
  chunk.set_body(fmt::format("{}-{}{}", id_, ++last_chunk_, chunk_padding_));
  chunk.mutable_header()->set_sample_count(10);
  return chunk;
}

void SimulatedDevice::Sample() {
  Execution& execution = *process_->execution;
  if (timeline_->now() >= execution.end_time) {
    EndRun();
    return;
  }
  const agent::AttemptKey key = execution.key;
  process_->spool->AppendChunk(key, NextChunk()).IgnoreError();  // a full spool costs samples, not the run
  if (random_->OneIn(2)) {
    const v1::Chunk growing = NextChunk();
    v1::RunResult so_far;
    so_far.set_sample_count(last_chunk_);
    process_->spool->SaveDraft(key, random_->OneIn(3) ? nullptr : &growing, so_far);
  }
  if (random_->OneIn(4)) {
    v1::RunProgress progress;
    progress.set_run_id(key.run_id);
    progress.set_attempt(key.attempt);
    process_->session->Tell(progress);
    PumpSoon(timeline_->now());
  }
  WriteSoon(random_->Between(nanoseconds(0), milliseconds(50)));
  After(std::min(execution.interval, execution.end_time - timeline_->now()), [this, key] {
    if (process_->execution && process_->execution->key == key) Sample();
  });
}

void SimulatedDevice::EndRun() {
  const Execution execution = *std::exchange(process_->execution, std::nullopt);
  ledger_->RunnerEnded(id_);
  if (trace) trace(fmt::format("{} ends {}: {}", id_, ToText(execution.key), v1::OutcomeKind_Name(execution.end)));
  v1::AttemptFinished finished;
  *finished.mutable_end_time() = base::ToProto(wall());
  if (const auto offset = MeasuredOffset()) *finished.mutable_clock_offset() = *offset;
  v1::Outcome* const outcome = finished.mutable_result()->mutable_outcome();
  outcome->set_kind(execution.end);
  outcome->mutable_evidence()->mutable_last_samples()->add_offset_ms(1);
  if (random_->OneIn(2)) process_->spool->AppendChunk(execution.key, NextChunk()).IgnoreError();
  // Without its attempt, which the coordinator may have had set aside, there is nothing to end.
  process_->spool->Finish(execution.key, finished).IgnoreError();
  process_->desk.End(true);
  WriteSoon(random_->Between(nanoseconds(0), milliseconds(50)));
}

void SimulatedDevice::AskForEnd(v1::OutcomeKind outcome) {
  Execution& execution = *process_->execution;
  if (std::exchange(execution.asked, true)) return;
  execution.end = outcome == v1::OUTCOME_KIND_UNSPECIFIED ? v1::CANCELLED : outcome;
  if (!execution.started) return;  // ends as soon as it has begun
  const agent::AttemptKey key = execution.key;
  execution.end_time = hours(1'000'000);  // not by itself any more
  After(random_->Between(milliseconds(10), milliseconds(400)), [this, key] {
    if (process_->execution && process_->execution->key == key) EndRun();
  });
}

void SimulatedDevice::Cancel(const agent::AttemptKey& key, v1::OutcomeKind outcome, const std::string& /*reason*/) {
  if (process_->desk.active() == key && process_->execution) AskForEnd(outcome);
}

std::optional<agent::AttemptKey> SimulatedDevice::active() const {
  return process_ == nullptr ? std::nullopt : process_->desk.active();
}

}  // namespace ballast::simulation
