#include "tests/simulation/ledger.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "coordinator/core/run_transitions.h"
#include "tests/simulation/mutation.h"

namespace ballast::simulation {
namespace {

using core::HasDeviceResult;
using core::IsActive;
using core::IsEnded;
using core::LastAttempt;

bool IsOver(const v1::Job& job) {
  return job.state() == v1::Job::FINISHED || job.state() == v1::Job::CANCELLED;
}

// The bulk of a device's word is there.
bool IsWhole(const v1::RunResult& result) {
  return result.outcome().evidence().has_last_samples();
}

}  // namespace

const v1::Attempt* Ledger::Find(const v1::Run& run, std::uint32_t attempt) {
  if (attempt == 0 || attempt > LastAttempt(run)) return nullptr;
  return &run.attempts(static_cast<int>(attempt) - 1);
}

void Ledger::Fail(std::string problem) {
  if (problem_.empty()) problem_ = std::move(problem);
}

void Ledger::Sent(const std::string& device_id, const v1::Record& record) {
  const AttemptKey key{record.run_id(), record.attempt()};
  Truth truth{record.content_case(), {}, device_id, false};
  if (record.has_chunk()) truth.content = record.chunk().body();
  if (record.has_finished()) truth.content = v1::OutcomeKind_Name(record.finished().result().outcome().kind());
  if (record.has_started()) truth.content = record.started().boot_id();
  const auto [known, added] = sent_.emplace(RecordKey{key, record.seq()}, truth);
  if (!added && (known->second.kind != truth.kind || known->second.content != truth.content)) {
    if (replaced_.contains(device_id)) {  // the same attempt begun anew on another disk
      known->second = truth;
    } else {
      Fail(fmt::format("{} {} was sent with two contents: {} and {}", ToText(key), record.seq(), known->second.content,
                       truth.content));
    }
  }
  if (record.has_finished()) said_[key] = truth.content;
}

void Ledger::RunnerStarted(const std::string& device_id, const AttemptKey& key) {
  if (const auto [other, added] = running_.emplace(device_id, key); !added)
    Fail(fmt::format("{} has two runs at once: {} and {}", device_id, ToText(other->second), ToText(key)));
  if (!carried_out_.insert(key).second) Fail(fmt::format("{} was carried out twice", ToText(key)));
  const auto run = runs_.find(key.run_id);
  if (run == runs_.end() || LastAttempt(run->second) < key.attempt)
    Fail(fmt::format("{} was carried out before it was stored", ToText(key)));
  if (run != runs_.end() && run->second.device_id() != device_id)
    Fail(fmt::format("{} was carried out on {}", ToText(key), device_id));
}

void Ledger::RunnerEnded(const std::string& device_id) {
  running_.erase(device_id);
}

void Ledger::DiskReplaced(const std::string& device_id) {
  replaced_.insert(device_id);
  std::erase_if(carried_out_, [&](const AttemptKey& key) {
    const auto run = runs_.find(key.run_id);
    return run != runs_.end() && run->second.device_id() == device_id;
  });
  std::erase_if(sent_, [&](const auto& entry) { return entry.second.device_id == device_id && !entry.second.acked; });
}

void Ledger::CheckSurvived(const std::string& device_id, const std::set<RecordKey>& held) {
  for (const auto& [key, truth] : sent_) {
    if (truth.device_id != device_id || truth.acked || held.contains(key)) continue;
    Fail(fmt::format("{} {} was sent, is not acknowledged, and is not on its disk any more", ToText(key.first),
                     key.second));
  }
}

void Ledger::Rejected(const v1::RecordRejected& rejected) {
  Fail(fmt::format("records of {}@{} were rejected: {}", rejected.run_id(), rejected.attempt(), rejected.reason()));
}

void Ledger::AckArrived(const v1::RecordAck& ack) {
  CheckAck(ack);
  for (const std::uint64_t seq : ack.seqs()) {
    const auto truth = sent_.find({{ack.run_id(), ack.attempt()}, seq});
    if (truth != sent_.end()) truth->second.acked = true;
  }
}

void Ledger::ClockOffset(const v1::ClockOffset& offset, nanoseconds truth) {
  // Nobody can know that a clock was set after it was asked for.
  const nanoseconds asked =
      timeline_->now() - base::FromProto(offset.age()) - 2 * base::FromProto(offset.error()) - microseconds(1);
  if (clock_set_ && asked <= *clock_set_) return;
  const nanoseconds wrong = std::chrono::abs(base::FromProto(offset.offset()) - truth);
  if (wrong > base::FromProto(offset.error()) + microseconds(1)) {
    Fail(fmt::format("an offset of a clock is wrong by {} ns, and said to be true within {} ns", wrong.count(),
                     base::FromProto(offset.error()).count()));
  }
}

void Ledger::Committed(const core::Mutation& mutation) {
  if (const auto* job = std::get_if<core::PutJob>(&mutation)) {
    const auto [known, added] = jobs_.emplace(job->job.job_id(), job->job);
    if (added) {
      job_order_.push_back(job->job.job_id());
      return;
    }
    if (IsOver(known->second) && known->second.state() != job->job.state())
      Fail(fmt::format("{} had ended and changed", job->job.job_id()));
    if (known->second.cancel_requested() && !job->job.cancel_requested())
      Fail(fmt::format("{} was cancelled and is no more", job->job.job_id()));
    known->second = job->job;
  } else if (const auto* run = std::get_if<core::PutRun>(&mutation)) {
    CommittedRun(run->run);
  } else if (const auto* device = std::get_if<core::PutDevice>(&mutation)) {
    if (device->device.state() == v1::Device::READY && !device->device.active_run_id().empty())
      Fail(device->device.device_id() + " is ready and has a run");
    devices_[device->device.device_id()] = device->device;
  } else if (const auto* gone = std::get_if<core::DeleteDevice>(&mutation)) {
    devices_.erase(gone->device_id);
  } else if (const auto* reservation = std::get_if<core::PutReservation>(&mutation)) {
    reservations_[reservation->reservation.reservation_id()] = reservation->reservation;
  } else if (const auto* over = std::get_if<core::DeleteReservation>(&mutation)) {
    reservations_.erase(over->reservation_id);
  } else if (const auto* chunk = std::get_if<core::PutChunk>(&mutation)) {
    if (Mutated("acked_chunk_not_stored") && chunk->seq % 3 == 0) return;
    const AttemptKey key{chunk->run_id, chunk->attempt};
    if (!runs_.contains(chunk->run_id)) Fail("a chunk of a run that is not stored: " + chunk->run_id);
    const auto [known, added] = chunks_.emplace(RecordKey{key, chunk->seq}, std::pair(chunk->chunk.body(), 1));
    // What is there already is not counted again: storage/store.h.
    if (!added && Mutated("no_dedupe")) ++known->second.second;
    if (known->second.second > 1) Fail(fmt::format("{} {} was counted twice", ToText(key), chunk->seq));
    if (known->second.first != chunk->chunk.body()) {
      Fail(fmt::format("{} {} was stored with two contents: {} and {}", ToText(key), chunk->seq, known->second.first,
                       chunk->chunk.body()));
    }
  }
}

void Ledger::CommittedRun(const v1::Run& run) {
  const std::string& run_id = run.run_id();
  if (!jobs_.contains(run.job_id())) Fail("a run without its job: " + run_id);
  if (IsEnded(run) != run.has_outcome()) Fail(run_id + " has an outcome and has not ended, or the reverse");
  if (IsEnded(run) && run.outcome().kind() == v1::OUTCOME_KIND_UNSPECIFIED) Fail(run_id + " ended without an outcome");
  const auto known = runs_.find(run_id);
  if (known != runs_.end()) {
    const v1::Run& before = known->second;
    if (IsEnded(before) && !IsEnded(run)) Fail(run_id + " had ended and goes on");
    if (IsEnded(before) && before.outcome().SerializeAsString() != run.outcome().SerializeAsString()) {
      Fail(fmt::format("{} had ended {} and is {}", run_id, v1::OutcomeKind_Name(before.outcome().kind()),
                       v1::OutcomeKind_Name(run.outcome().kind())));
    }
    for (std::uint32_t attempt = 1; attempt <= LastAttempt(before); ++attempt) {
      if (HasDeviceResult(before, attempt) && !HasDeviceResult(run, attempt))
        Fail(fmt::format("the result of {}@{} is gone", run_id, attempt));
    }
  }
  std::set<std::uint32_t> late;
  for (const v1::LateResult& result : run.late_results()) {
    const v1::Attempt* const attempt = Find(run, result.attempt());
    if (!late.insert(result.attempt()).second || (attempt != nullptr && attempt->has_result() && !attempt->given_up()))
      Fail(fmt::format("{}@{} has two results", run_id, result.attempt()));
  }
  const auto cancelled = cancelled_.find(run.job_id());
  if (cancelled != cancelled_.end() && LastAttempt(run) > cancelled->second[run_id])
    Fail(run_id + " got another attempt after it was cancelled");
  runs_[run_id] = run;
  if (!IsActive(run)) return;
  for (const auto& [other_id, other] : runs_) {
    if (other_id != run_id && IsActive(other) && other.device_id() == run.device_id())
      Fail(fmt::format("{} has {} and {} at once", run.device_id(), other_id, run_id));
  }
}

bool Ledger::IsStored(const AttemptKey& key, std::uint64_t seq, const Truth& truth) const {
  const auto run = runs_.find(key.run_id);
  if (run == runs_.end()) return false;
  switch (truth.kind) {
    case v1::Record::kStarted: {
      const v1::Attempt* const attempt = Find(run->second, key.attempt);
      return attempt != nullptr && attempt->has_start_time() && attempt->boot_id() == truth.content;
    }
    case v1::Record::kChunk: {
      const auto chunk = chunks_.find({key, seq});
      return chunk != chunks_.end() && chunk->second.first == truth.content;
    }
    case v1::Record::kFinished:
      return HasDeviceResult(run->second, key.attempt);
    case v1::Record::CONTENT_NOT_SET:
      break;
  }
  return false;
}

void Ledger::CheckAck(const v1::RecordAck& ack) {
  const AttemptKey key{ack.run_id(), ack.attempt()};
  for (const std::uint64_t seq : ack.seqs()) {
    const auto truth = sent_.find({key, seq});
    if (truth == sent_.end()) {
      if (!replaced_.empty()) continue;
      Fail(fmt::format("{} {} was acknowledged and never sent", ToText(key), seq));
    } else if (!IsStored(key, seq, truth->second)) {
      Fail(fmt::format("{} {} was acknowledged and is not stored", ToText(key), seq));
    }
  }
}

void Ledger::SaidHello(std::uint64_t session, const v1::Hello& hello) {
  for (const v1::HeldAttempt& held : hello.held_attempts()) {
    if (held.active()) active_in_[session] = {held.run_id(), held.attempt()};
  }
}

void Ledger::Said(const std::string& device_id, std::uint64_t session, const v1::CoordinatorMessage& message) {
  if (message.has_ack()) CheckAck(message.ack());
  if (message.has_cancel()) {
    if (message.cancel().outcome() == v1::TIMED_OUT)
      told_overdue_.insert({message.cancel().run_id(), message.cancel().attempt()});
    const auto ended = runs_.find(message.cancel().run_id());
    if (ended != runs_.end() && ended->second.state() == v1::Run::QUEUED &&
        LastAttempt(ended->second) == message.cancel().attempt() &&
        !jobs_.at(ended->second.job_id()).cancel_requested()) {
      Fail(fmt::format("{} was told to end {}@{}, and the run waits for another attempt", device_id,
                       message.cancel().run_id(), message.cancel().attempt()));
    }
  }
  if (!message.has_assignment()) return;
  const AttemptKey key{message.assignment().run_id(), message.assignment().attempt()};
  const auto run = runs_.find(key.run_id);
  if (run == runs_.end() || LastAttempt(run->second) < key.attempt)
    Fail(fmt::format("{} was assigned before it was stored", ToText(key)));
  const auto active = active_in_.find(session);
  const auto running = running_.find(device_id);
  if (active != active_in_.end() && running != running_.end() && running->second == active->second &&
      active->second.run_id == key.run_id && active->second.attempt < key.attempt) {
    Fail(fmt::format("{} was assigned although its device had said that it goes on with {}", ToText(key),
                     ToText(active->second)));
  }
}

void Ledger::Cancelled(const std::string& job_id) {
  if (const auto job = jobs_.find(job_id);
      job == jobs_.end() || (!job->second.cancel_requested() && !IsOver(job->second)))
    Fail(job_id + " was said to be cancelled, and that is not stored");
  std::map<std::string, std::uint32_t> attempts;
  for (const auto& [run_id, run] : runs_) {
    if (run.job_id() == job_id) attempts[run_id] = LastAttempt(run);
  }
  cancelled_.emplace(job_id, std::move(attempts));
}

std::vector<v1::Job> Ledger::OpenJobs() const {
  std::vector<v1::Job> open;
  for (const std::string& job_id : job_order_) {
    const v1::Job& job = jobs_.at(job_id);
    if (IsOver(job)) continue;
    open.push_back(job);
    if (Mutated("cancel_lost_at_restart")) open.back().set_cancel_requested(false);
  }
  return open;
}

std::vector<v1::Run> Ledger::OpenRuns() const {
  std::vector<v1::Run> open;
  for (const std::string& job_id : job_order_) {
    const v1::Job& job = jobs_.at(job_id);
    if (IsOver(job)) continue;
    for (std::uint32_t n = 1; n <= job.run_count(); ++n) {
      const auto run = runs_.find(fmt::format("{}.{}", job_id, n));
      if (run != runs_.end()) open.push_back(run->second);
    }
  }
  return open;
}

bool Ledger::AllEnded() const {
  return std::ranges::all_of(runs_, [](const auto& entry) { return IsEnded(entry.second); });
}

void Ledger::CheckEnd() {
  for (const std::string& job_id : submitted_) {
    if (!jobs_.contains(job_id)) Fail(job_id + " was taken and is not stored");
  }
  for (const auto& [job_id, job] : jobs_) {
    std::uint32_t ended = 0;
    std::uint32_t completed = 0;
    for (const auto& [run_id, run] : runs_) {
      if (run.job_id() != job_id) continue;
      if (!IsEnded(run)) Fail(fmt::format("{} did not end: {}", run_id, run.ShortDebugString()));
      ++ended;
      if (run.outcome().kind() == v1::COMPLETED) ++completed;
    }
    if (ended != job.run_count() || job.ended_run_count() != ended || job.expected_run_count() != completed)
      Fail(fmt::format("{} is counted wrongly: {}", job_id, job.ShortDebugString()));
    const v1::Job::State state = job.cancel_requested() ? v1::Job::CANCELLED : v1::Job::FINISHED;
    if (job.state() != state) Fail(fmt::format("{} ended as {}", job_id, v1::Job::State_Name(job.state())));
    if (cancelled_.contains(job_id) && !job.cancel_requested() && job.state() != v1::Job::FINISHED)
      Fail(job_id + " was cancelled and is not");
  }
  for (const auto& [key, truth] : sent_) {
    if (truth.acked && !IsStored(key.first, key.second, truth))
      Fail(fmt::format("{} {} was acknowledged and is not stored at the end", ToText(key.first), key.second));
  }
  for (const auto& [run_id, run] : runs_) {
    for (const v1::Attempt& attempt : run.attempts()) {
      const AttemptKey key{run_id, attempt.attempt()};
      if (!attempt.has_result() || attempt.given_up()) continue;
      if (!IsWhole(attempt.result())) Fail(ToText(key) + " lost the bulk of its result");
      const auto said = said_.find(key);
      if (said == said_.end() || said->second != v1::OutcomeKind_Name(attempt.result().outcome().kind()))
        Fail(ToText(key) + " has a result that its device did not tell");
    }
    for (const v1::LateResult& late : run.late_results()) {
      if (!IsWhole(late.result())) Fail(fmt::format("{}@{} lost the bulk of its late result", run_id, late.attempt()));
    }
    if (run.attempts().empty()) continue;
    const v1::Attempt& last = run.attempts(run.attempts_size() - 1);
    if (last.has_result() && last.result().outcome().kind() != run.outcome().kind() &&
        run.outcome().kind() != v1::CANCELLED)
      Fail(run_id + " has another outcome than its last attempt");
  }
}

}  // namespace ballast::simulation
