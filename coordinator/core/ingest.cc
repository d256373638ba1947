#include "coordinator/core/ingest.h"

#include <cstdint>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "coordinator/core/run_transitions.h"

namespace ballast::core {
namespace {

// What a store can number.
constexpr std::uint64_t kMaxSeq = std::numeric_limits<std::int64_t>::max();

// Why a record cannot belong to this run; empty where it can.
std::string Mismatch(const v1::Run& run, const std::string& device_id, const v1::Record& record) {
  if (run.device_id() != device_id) {
    return fmt::format("run {} belongs to device {}, not to {}", run.run_id(), run.device_id(), device_id);
  }
  if (record.attempt() == 0 || record.attempt() > LastAttempt(run)) {
    return fmt::format("run {} has no attempt {} here (was the coordinator's database replaced by an older one?)",
                       run.run_id(), record.attempt());
  }
  return {};
}

void WriteChunk(Turn& turn, v1::Record* record) {
  PutChunk put{record->run_id(), record->attempt(), record->seq(), {}};
  put.chunk.Swap(record->mutable_chunk());
  turn.Write(std::move(put));
}

}  // namespace

void Ingest::Record(Turn& turn, DeviceEntry* device, v1::Record record) {
  const SessionId session = device->session;
  if (record.run_id().empty() || record.seq() == 0 || record.seq() > kMaxSeq ||
      record.content_case() == v1::Record::CONTENT_NOT_SET) {
    turn.Reject(session, record.run_id(), record.attempt(), "the record has no run, no position or no content");
    return;
  }
  RunEntry* open = state_->FindRun(record.run_id());
  v1::Run* run = open != nullptr ? &open->run : state_->FindClosedRun(record.run_id());
  if (run == nullptr) {
    Wait(turn, session, std::move(record));
    return;
  }
  if (std::string mismatch = Mismatch(*run, device->device.device_id(), record); !mismatch.empty()) {
    turn.Reject(session, record.run_id(), record.attempt(), std::move(mismatch));
    return;
  }
  if (record.has_finished() && device->occupied == HeldRun{record.run_id(), record.attempt()}) {
    device->occupied.reset();
    turn.Changed(device);
  }
  if (open != nullptr && !IsEnded(*run)) {
    IntoOpen(turn, device, open, std::move(record));
  } else {
    (void)IntoEnded(turn, session, run, false, std::move(record));
  }
  scheduler_->Dispatch(turn, device);
}

void Ingest::IntoOpen(Turn& turn, DeviceEntry* device, RunEntry* run, v1::Record record) {
  const std::uint32_t attempt = record.attempt();
  const std::uint64_t seq = record.seq();
  const std::string run_id = record.run_id();
  // A device that brings records of the attempt that was given up has it still: the original wins over a replacement
  // that did not begin.
  scheduler_->TryRevive(turn, device, run, attempt);
  const bool current = run == device->active && attempt == LastAttempt(run->run);
  if (current) run->heard_at = turn.steady();
  if (record.has_chunk()) {
    WriteChunk(turn, &record);
  } else if (record.has_started()) {
    if (!current) {
      if (NoteStart(record.started(), attempt, &run->run)) turn.Changed(run);
    } else if (run->run.state() == v1::Run::ASSIGNED) {
      Start(record.started(), turn.wall(), &run->run);
      run->started_at = turn.steady();
      if (run->job->job.state() == v1::Job::QUEUED) {
        CountStart(turn.wall(), &run->job->job);
        turn.Changed(run->job);
      }
      turn.Changed(run);
      scheduler_->Arm(device);
    }
  } else if (current) {
    FinishAttempt(std::move(*record.mutable_finished()), &run->run);
    scheduler_->ConcludeAttempt(turn, device);
  } else if (!HasDeviceResult(run->run, attempt)) {
    AddLateResult(attempt, std::move(*record.mutable_finished()), turn.wall(), &run->run);
    turn.Changed(run);
  }
  turn.Ack(device->session, run_id, attempt, seq);
}

bool Ingest::IntoEnded(Turn& turn, SessionId session, v1::Run* run, bool whole, v1::Record record) {
  const std::uint32_t attempt = record.attempt();
  const std::uint64_t seq = record.seq();
  bool changed = false;
  if (record.has_chunk()) {
    WriteChunk(turn, &record);
  } else if (record.has_finished() && !HasDeviceResult(*run, attempt)) {
    if (!whole) {
      Wait(turn, session, std::move(record));
      return false;
    }
    AddLateResult(attempt, std::move(*record.mutable_finished()), turn.wall(), run);
    changed = true;
  } else if (record.has_started() && !run->attempts(static_cast<int>(attempt) - 1).has_start_time()) {
    if (!whole) {
      Wait(turn, session, std::move(record));
      return false;
    }
    changed = NoteStart(record.started(), attempt, run);
  }
  turn.Ack(session, run->run_id(), attempt, seq);
  return changed;
}

void Ingest::Wait(Turn& turn, SessionId session, v1::Record record) {
  const std::string run_id = record.run_id();
  if (state_->AddWaiting(session, std::move(record))) turn.Load(run_id);
}

void Ingest::RunLoaded(Turn& turn, const std::string& run_id, absl::StatusOr<v1::Run> loaded) {
  std::vector<State::WaitingRecord> waiting = state_->TakeWaiting(run_id);
  bool changed = false;
  for (State::WaitingRecord& entry : waiting) {
    const DeviceEntry* device = state_->FindSession(entry.session);
    if (device == nullptr) continue;  // it will send the record again
    std::string mismatch = loaded.ok() ? Mismatch(*loaded, device->device.device_id(), entry.record)
                                       : fmt::format("this coordinator has no run {}", run_id);
    if (!mismatch.empty()) {
      turn.Reject(entry.session, run_id, entry.record.attempt(), std::move(mismatch));
      continue;
    }
    changed |= IntoEnded(turn, entry.session, &*loaded, true, std::move(entry.record));
  }
  if (!loaded.ok()) return;
  v1::Run slim = *loaded;
  Slim(&slim);
  if (RunEntry* open = state_->FindRun(run_id)) {
    open->run = std::move(slim);
  } else {
    state_->RememberRun(std::move(slim));
  }
  if (changed) turn.Write(PutRun{std::move(*loaded)});
}

}  // namespace ballast::core
