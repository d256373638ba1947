#include "coordinator/core/core.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::core {

Core::Core(CoreOptions options)
    : state_(std::move(options)),
      scheduler_(&state_),
      job_desk_(&state_, &scheduler_),
      device_desk_(&state_, &scheduler_),
      session_desk_(&state_, &scheduler_),
      ingest_(&state_, &scheduler_) {}

void Core::Finish(Turn* turn) {
  for (DeviceEntry* device : turn->changed_devices()) scheduler_.Arm(device);
  turn->Commit(&state_);
}

absl::Status Core::Restore(const Instant& now, std::vector<v1::Job> jobs, std::vector<v1::Run> runs,
                           std::vector<v1::Device> devices, Actions* actions) {
  Turn turn(now, actions);
  for (v1::Device& stored : devices) {
    DeviceEntry& device = state_.AddDevice(std::move(stored));
    device.last_heard = now.steady;
    // The worker's own labels are not stored apart; those that no override touches are known to be its own.
    for (const auto& [key, value] : device.device.labels()) {
      if (!device.device.label_overrides().contains(key)) device.worker_labels[key] = value;
    }
    if (device.device.state() != v1::Device::OFFLINE) turn.Changed(&device);
  }
  for (v1::Job& stored : jobs) {
    stored.set_ended_run_count(0);
    stored.set_expected_run_count(0);
    state_.AddJob(std::move(stored));
  }
  for (v1::Run& stored : runs) {
    const std::string run_id = stored.run_id();
    JobEntry* job = state_.FindJob(stored.job_id());
    if (job == nullptr) {
      return absl::DataLossError(fmt::format("run {} belongs to job {}, which is not open", run_id, stored.job_id()));
    }
    if (IsEnded(stored)) {
      Slim(&stored);
      RunEntry& run = state_.AddRun(job, std::move(stored));
      if (CountEnd(run.run, now.wall, &job->job)) {
        turn.Changed(job);
        turn.JobEnded(job);
      }
      continue;
    }
    DeviceEntry* device = state_.FindDevice(stored.device_id());
    if (device == nullptr) {
      return absl::DataLossError(
          fmt::format("run {} waits for device {}, which is not there", run_id, stored.device_id()));
    }
    RunEntry& run = state_.AddRun(job, std::move(stored));
    if (run.run.state() == v1::Run::QUEUED) {
      scheduler_.Enqueue(&run);
      continue;
    }
    if (!IsActive(run.run) || run.run.attempts().empty()) {
      return absl::DataLossError(fmt::format("run {} is in no known state", run_id));
    }
    if (device->active != nullptr) {
      return absl::DataLossError(fmt::format("device {} has two runs at once: {} and {}", device->device.device_id(),
                                             device->active->run.run_id(), run_id));
    }
    device->active = &run;
    run.sent_at = run.heard_at = run.started_at = now.steady;
    scheduler_.RenewLease(turn, device);
    scheduler_.Arm(device);
  }
  for (const auto& [job_id, job] : state_.jobs()) {
    if (job->runs.empty() || job->runs.size() != job->job.run_count()) {
      return absl::DataLossError(
          fmt::format("job {} has {} runs instead of {}", job_id, job->runs.size(), job->job.run_count()));
    }
  }
  Finish(&turn);
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> Core::Submit(const Instant& now, Submission submission, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Job> job = job_desk_.Submit(turn, std::move(submission));
  Finish(&turn);
  return job;
}

absl::StatusOr<v1::Job> Core::CancelJob(const Instant& now, const std::string& job_id, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Job> job = job_desk_.Cancel(turn, job_id);
  Finish(&turn);
  return job;
}

std::optional<std::vector<v1::JobUpdate>> Core::Watch(const std::string& job_id) {
  return job_desk_.Watch(job_id);
}

void Core::Unwatch(const std::string& job_id) {
  job_desk_.Unwatch(job_id);
}

absl::StatusOr<v1::Device> Core::GetDevice(const std::string& device_id) {
  BALLAST_ASSIGN_OR_RETURN(const DeviceEntry* device, device_desk_.Find(device_id));
  return device->device;
}

absl::StatusOr<v1::Device> Core::LabelDevice(const Instant& now, const v1::LabelDeviceRequest& request,
                                             Actions* actions) {
  Turn turn(now, actions);
  const absl::StatusOr<DeviceEntry*> device = device_desk_.Label(turn, request);
  Finish(&turn);
  if (!device.ok()) return device.status();
  return (*device)->device;
}

absl::StatusOr<v1::Device> Core::SetDrained(const Instant& now, const std::string& device_id, bool drained,
                                            Actions* actions) {
  Turn turn(now, actions);
  const absl::StatusOr<DeviceEntry*> device = device_desk_.SetDrained(turn, device_id, drained);
  Finish(&turn);
  if (!device.ok()) return device.status();
  return (*device)->device;
}

absl::StatusOr<v1::Device> Core::RemoveDevice(const Instant& now, const std::string& device_id, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Device> device = device_desk_.Remove(turn, device_id);
  Finish(&turn);
  return device;
}

void Core::Receive(const Instant& now, SessionId session, v1::WorkerMessage message, Actions* actions) {
  Turn turn(now, actions);
  switch (message.content_case()) {
    case v1::WorkerMessage::kHello:
      session_desk_.Hello(turn, session, std::move(*message.mutable_hello()));
      break;
    case v1::WorkerMessage::kHeartbeat:
      session_desk_.Heartbeat(turn, session, message.heartbeat());
      break;
    case v1::WorkerMessage::kRecord:
      if (DeviceEntry* device = session_desk_.Touch(turn, session)) {
        ingest_.Record(turn, device, std::move(*message.mutable_record()));
      }
      break;
    case v1::WorkerMessage::kProgress:
      session_desk_.Progress(turn, session, std::move(*message.mutable_progress()));
      break;
    case v1::WorkerMessage::kAssignmentRejected:
      session_desk_.AssignmentRejected(turn, session, message.assignment_rejected());
      break;
    case v1::WorkerMessage::CONTENT_NOT_SET:
      // From a newer worker: nothing this coordinator understands, but a sign of life.
      (void)session_desk_.Touch(turn, session);
      break;
  }
  Finish(&turn);
}

void Core::Disconnect(const Instant& now, SessionId session, Actions* actions) {
  Turn turn(now, actions);
  session_desk_.Disconnect(turn, session);
  Finish(&turn);
}

void Core::RunLoaded(const Instant& now, const std::string& run_id, absl::StatusOr<v1::Run> run, Actions* actions) {
  Turn turn(now, actions);
  ingest_.RunLoaded(turn, run_id, std::move(run));
  Finish(&turn);
}

void Core::ForgiveSilence(const Instant& now, std::chrono::nanoseconds duration) {
  const auto forgive = [&](std::chrono::nanoseconds* since) { *since = std::min(*since + duration, now.steady); };
  for (auto& [device_id, device] : state_.devices()) {
    forgive(&device.last_heard);
    if (device.active == nullptr) continue;
    forgive(&device.active->sent_at);
    forgive(&device.active->heard_at);
    forgive(&device.active->started_at);
  }
}

void Core::Tick(const Instant& now, Actions* actions) {
  Turn turn(now, actions);
  while (DeviceEntry* device = state_.TakeDue(now.steady)) scheduler_.CheckTime(turn, device);
  Finish(&turn);
}

}  // namespace ballast::core
