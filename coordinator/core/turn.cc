#include "coordinator/core/turn.h"

#include <utility>

#include "coordinator/core/run_transitions.h"

namespace ballast::core {
namespace {

v1::Device::State StateOf(const DeviceEntry& entry) {
  if (!entry.online()) return v1::Device::OFFLINE;
  if (entry.device.drained()) return v1::Device::DRAINING;
  if (entry.quarantined()) return v1::Device::QUARANTINED;
  if (entry.active != nullptr || entry.occupied) return v1::Device::BUSY;
  return v1::Device::READY;
}

}  // namespace

void Turn::Changed(JobEntry* job) {
  if (!std::exchange(job->changed, true)) jobs_.push_back(job);
}

void Turn::Changed(RunEntry* run) {
  if (!std::exchange(run->changed, true)) runs_.push_back(run);
}

void Turn::Changed(DeviceEntry* device) {
  if (!std::exchange(device->changed, true)) devices_.push_back(device);
}

void Turn::Send(SessionId session, v1::CoordinatorMessage message) {
  actions_->outputs.emplace_back(SendMessage{session, std::move(message)});
}

void Turn::End(SessionId session, absl::Status status) {
  actions_->outputs.emplace_back(EndSession{session, std::move(status)});
}

void Turn::Ack(SessionId session, const std::string& run_id, std::uint32_t attempt, std::uint64_t seq) {
  // Records come in rows: one message acknowledges the whole row.
  if (!actions_->outputs.empty()) {
    auto* last = std::get_if<SendMessage>(&actions_->outputs.back());
    if (last != nullptr && last->session == session && last->message.has_ack()) {
      v1::RecordAck* ack = last->message.mutable_ack();
      if (ack->run_id() == run_id && ack->attempt() == attempt) {
        ack->add_seqs(seq);
        return;
      }
    }
  }
  v1::CoordinatorMessage message;
  message.mutable_ack()->set_run_id(run_id);
  message.mutable_ack()->set_attempt(attempt);
  message.mutable_ack()->add_seqs(seq);
  Send(session, std::move(message));
}

void Turn::Reject(SessionId session, const std::string& run_id, std::uint32_t attempt, std::string reason) {
  v1::CoordinatorMessage message;
  message.mutable_record_rejected()->set_run_id(run_id);
  message.mutable_record_rejected()->set_attempt(attempt);
  message.mutable_record_rejected()->set_reason(std::move(reason));
  Send(session, std::move(message));
}

void Turn::PublishProgress(const std::string& job_id, v1::RunProgress progress) {
  PublishUpdate publish{job_id, {}};
  publish.update.mutable_progress()->Swap(&progress);
  actions_->outputs.emplace_back(std::move(publish));
}

void Turn::RefreshDevice(DeviceEntry* entry) {
  const v1::Device::State state = StateOf(*entry);
  if (state != entry->device.state()) {
    entry->device.set_state(state);
    *entry->device.mutable_state_time() = base::ToProto(now_.wall);
  }
  if (entry->active != nullptr) {
    entry->device.set_active_run_id(entry->active->run.run_id());
  } else {
    entry->device.clear_active_run_id();
  }
  const v1::Reservation* reservation = entry->ReservationAt(now_.wall);
  entry->device.set_reserved_for(reservation == nullptr ? std::string() : reservation->holder());
}

void Turn::Commit(State* state, const std::function<void(const JobEntry&, v1::Job*)>& complete) {
  // Devices before jobs, jobs before runs: each exists when it is referred to.
  for (DeviceEntry* entry : devices_) {
    entry->changed = false;
    RefreshDevice(entry);
    Write(PutDevice{entry->device});
  }
  for (JobEntry* entry : jobs_) {
    entry->changed = false;
    Write(PutJob{entry->job});
  }
  for (RunEntry* entry : runs_) {
    entry->changed = false;
    const bool watched = entry->job->watchers > 0;
    if (IsEnded(entry->run)) {
      v1::Run whole = entry->run;
      Slim(&entry->run);
      Write(PutRun{std::move(whole)});
    } else {
      Write(PutRun{entry->run});
    }
    if (watched) {
      PublishUpdate publish{entry->job->job.job_id(), {}};
      *publish.update.mutable_run() = entry->run;
      Slim(publish.update.mutable_run());
      actions_->outputs.emplace_back(std::move(publish));
    }
  }
  for (JobEntry* entry : jobs_) {
    if (entry->watchers == 0) continue;
    PublishUpdate publish{entry->job.job_id(), {}};
    *publish.update.mutable_job() = entry->job;
    complete(*entry, publish.update.mutable_job());
    actions_->outputs.emplace_back(std::move(publish));
  }
  for (const std::string& job_id : ended_jobs_) {
    actions_->outputs.emplace_back(CloseWatches{job_id});
    state->CloseJob(job_id);
  }
}

}  // namespace ballast::core
