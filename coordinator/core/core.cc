#include "coordinator/core/core.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::core {

Core::Core(CoreOptions options)
    : state_(std::move(options)),
      queue_(&state_),
      health_desk_(&state_),
      scheduler_(&state_, &queue_, &health_desk_),
      wait_reasons_(&state_, &queue_),
      reservation_desk_(&state_, &scheduler_),
      schedule_desk_(&state_),
      job_desk_(&state_, &queue_, &scheduler_),
      device_desk_(&state_, &queue_, &health_desk_, &scheduler_),
      session_desk_(&state_, &queue_, &scheduler_),
      ingest_(&state_, &scheduler_) {}

void Core::Finish(Turn* turn) {
  for (DeviceEntry* device : turn->changed_devices()) scheduler_.Arm(device);
  turn->Commit(&state_,
               [this, turn](const JobEntry& entry, v1::Job* job) { wait_reasons_.Fill(entry, turn->now(), job); });
}

absl::Status Core::Restore(const Instant& now, StoredState stored, Actions* actions) {
  Turn turn(now, actions);
  for (v1::Device& known : stored.devices) {
    DeviceEntry& device = state_.AddDevice(std::move(known));
    device.last_heard = now.steady;
    // The worker's own labels are not stored apart; those that no override touches are known to be its own.
    for (const auto& [key, value] : device.device.labels()) {
      if (!device.device.label_overrides().contains(key)) device.worker_labels[key] = value;
    }
    if (device.device.has_cool_down_until_time()) {
      const std::chrono::nanoseconds left = base::FromProto(device.device.cool_down_until_time()) - now.wall;
      device.cool_until =
          now.steady + std::clamp(left, std::chrono::nanoseconds(0), state_.options().scheduling.cool_down);
    }
    health_desk_.Restore(now, &device);
    if (device.device.state() != v1::Device::OFFLINE || device.cool_until) turn.Changed(&device);
  }
  for (v1::Job& job : stored.jobs) {
    job.set_ended_run_count(0);
    job.set_expected_run_count(0);
    const base::SystemTime created = base::FromProto(job.create_time());
    JobEntry& entry = state_.AddJob(std::move(job));
    entry.waits_since = now.steady - std::max(now.wall - created, std::chrono::nanoseconds(0));
  }
  for (v1::Run& run : stored.runs) BALLAST_RETURN_IF_ERROR(RestoreRun(turn, std::move(run)));
  for (const auto& [job_id, job] : state_.jobs()) {
    if (job->runs.empty() || job->runs.size() != job->job.run_count()) {
      return absl::DataLossError(
          fmt::format("job {} has {} runs instead of {}", job_id, job->runs.size(), job->job.run_count()));
    }
  }
  for (v1::Reservation& reservation : stored.reservations) reservation_desk_.Restore(std::move(reservation));
  for (v1::Schedule& schedule : stored.schedules) schedule_desk_.Restore(std::move(schedule));
  reservation_desk_.CheckTime(turn);
  schedule_desk_.CheckTime(turn);
  Finish(&turn);
  return absl::OkStatus();
}

absl::Status Core::RestoreRun(Turn& turn, v1::Run stored) {
  const std::string run_id = stored.run_id();
  JobEntry* job = state_.FindJob(stored.job_id());
  if (job == nullptr) {
    return absl::DataLossError(fmt::format("run {} belongs to job {}, which is not open", run_id, stored.job_id()));
  }
  queue_.AddUse(stored, job->job.submitter(), turn.now());
  const bool placed = !stored.device_id().empty();
  if (job->floats() && placed) {
    job->placements[stored.device_id()].groups.insert(job->GroupOf(job->runs.size()));
  }
  if (IsEnded(stored)) {
    Slim(&stored);
    RunEntry& run = state_.AddRun(job, std::move(stored));
    if (CountEnd(run.run, turn.wall(), &job->job)) {
      turn.Changed(job);
      turn.JobEnded(job);
    }
    return absl::OkStatus();
  }
  DeviceEntry* device = state_.FindDevice(stored.device_id());
  if (device == nullptr && (placed || !job->floats() || stored.state() != v1::Run::QUEUED)) {
    return absl::DataLossError(
        fmt::format("run {} waits for device {}, which is not there", run_id, stored.device_id()));
  }
  RunEntry& run = state_.AddRun(job, std::move(stored));
  if (run.run.state() == v1::Run::QUEUED) return queue_.Add(&run);
  if (!IsActive(run.run) || run.run.attempts().empty()) {
    return absl::DataLossError(fmt::format("run {} is in no known state", run_id));
  }
  if (device->active != nullptr) {
    return absl::DataLossError(fmt::format("device {} has two runs at once: {} and {}", device->device.device_id(),
                                           device->active->run.run_id(), run_id));
  }
  scheduler_.Adopt(turn, device, &run);
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> Core::Submit(const Instant& now, Submission submission, Actions* actions) {
  Turn turn(now, actions);
  const JobOrigin origin = submission.origin;
  // Finding out what a job names can take long: its schedule may be gone.
  BALLAST_RETURN_IF_ERROR(schedule_desk_.CheckWanted(origin));
  absl::StatusOr<v1::Job> job = job_desk_.Submit(turn, std::move(submission));
  if (job.ok()) NoteWanted(turn, origin, job->job_id());
  Finish(&turn);
  return job;
}

void Core::WantedJobKnown(const Instant& now, const JobOrigin& origin, const std::string& job_id, Actions* actions) {
  Turn turn(now, actions);
  NoteWanted(turn, origin, job_id);
  Finish(&turn);
}

void Core::NoteWanted(Turn& turn, const JobOrigin& origin, const std::string& job_id) {
  if (!origin.schedule_id.empty()) schedule_desk_.Submitted(turn, origin, job_id);
  DeviceEntry* device = state_.FindDevice(origin.health_check_device_id);
  if (device == nullptr) return;
  health_desk_.CheckSubmitted(turn, device, job_id);
  scheduler_.Dispatch(turn, device);
}

void Core::WantedJobFailed(const Instant& now, const JobOrigin& origin, const std::string& reason, Actions* actions) {
  Turn turn(now, actions);
  if (!origin.schedule_id.empty()) schedule_desk_.Refused(turn, origin, reason);
  if (!origin.health_check_device_id.empty()) health_desk_.CheckRefused(turn, origin.health_check_device_id, reason);
  Finish(&turn);
}

void Core::FillWaitReasons(const Instant& now, v1::Job* job) const {
  if (const JobEntry* entry = state_.FindJob(job->job_id())) wait_reasons_.Fill(*entry, now, job);
}

absl::StatusOr<v1::Job> Core::CancelJob(const Instant& now, const std::string& job_id, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Job> job = job_desk_.Cancel(turn, job_id);
  Finish(&turn);
  return job;
}

std::optional<std::vector<v1::JobUpdate>> Core::Watch(const Instant& now, const std::string& job_id) {
  std::optional<std::vector<v1::JobUpdate>> snapshot = job_desk_.Watch(job_id);
  if (snapshot) FillWaitReasons(now, snapshot->front().mutable_job());
  return snapshot;
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

absl::StatusOr<v1::Reservation> Core::CreateReservation(const Instant& now, const std::string& reservation_id,
                                                        const v1::CreateReservationRequest& request, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Reservation> reservation = reservation_desk_.Create(turn, reservation_id, request);
  Finish(&turn);
  return reservation;
}

std::vector<v1::Reservation> Core::ListReservations(const std::string& holder) const {
  return reservation_desk_.List(holder);
}

absl::StatusOr<v1::Reservation> Core::EndReservation(const Instant& now, const std::string& reservation_id,
                                                     const std::string& requester, bool administrator,
                                                     Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Reservation> reservation = reservation_desk_.End(turn, reservation_id, requester, administrator);
  Finish(&turn);
  return reservation;
}

absl::StatusOr<v1::Schedule> Core::SetSchedule(const Instant& now, v1::Schedule schedule, bool administrator,
                                               Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Schedule> put = schedule_desk_.Put(turn, std::move(schedule), administrator);
  Finish(&turn);
  return put;
}

std::vector<v1::Schedule> Core::ListSchedules() const {
  return schedule_desk_.List();
}

absl::StatusOr<v1::Schedule> Core::FindSchedule(const std::string& schedule_id) const {
  return schedule_desk_.Find(schedule_id);
}

absl::StatusOr<v1::Schedule> Core::SetPaused(const Instant& now, const std::string& schedule_id, bool paused,
                                             const std::string& requester, bool administrator, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Schedule> schedule = schedule_desk_.SetPaused(turn, schedule_id, paused, requester, administrator);
  Finish(&turn);
  return schedule;
}

absl::StatusOr<v1::Schedule> Core::RemoveSchedule(const Instant& now, const std::string& schedule_id,
                                                  const std::string& requester, bool administrator, Actions* actions) {
  Turn turn(now, actions);
  absl::StatusOr<v1::Schedule> schedule = schedule_desk_.Delete(turn, schedule_id, requester, administrator);
  Finish(&turn);
  return schedule;
}

absl::Status Core::ForgetRun(const std::string& job_id, const std::string& run_id, Actions* actions) {
  BALLAST_RETURN_IF_ERROR(state_.ForgetRun(job_id, run_id));
  actions->mutations.emplace_back(DeleteRun{run_id});
  return absl::OkStatus();
}

absl::Status Core::ForgetJob(const std::string& job_id, Actions* actions) {
  BALLAST_RETURN_IF_ERROR(state_.ForgetJob(job_id));
  actions->mutations.emplace_back(DeleteJob{job_id});
  return absl::OkStatus();
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
  if (state_.TakePlansDue(now.steady)) {
    reservation_desk_.CheckTime(turn);
    schedule_desk_.CheckTime(turn);
  }
  Finish(&turn);
}

}  // namespace ballast::core
