#include "coordinator/core/state.h"

#include <algorithm>

#include "coordinator/core/run_transitions.h"

namespace ballast::core {
namespace {

// How many ended jobs and runs are remembered, so that a repeated request or record needs no reading. Others are read
// from the store.
constexpr std::size_t kClosedJobs = 1024;
constexpr std::size_t kClosedRuns = 4096;

}  // namespace

bool DeviceEntry::Refuses(const RunEntry& run) const {
  const auto variants = refused.find(run.job->job.job_id());
  return variants != refused.end() && variants->second.contains(VariantOf(run.run));
}

const v1::Reservation* DeviceEntry::ReservationAt(base::SystemTime wall) const {
  for (const v1::Reservation* reservation : reservations) {
    if (base::FromProto(reservation->start_time()) <= wall && wall < base::FromProto(reservation->end_time())) {
      return reservation;
    }
  }
  return nullptr;
}

DeviceEntry* State::FindDevice(const std::string& device_id) {
  const auto it = devices_.find(device_id);
  return it == devices_.end() ? nullptr : &it->second;
}

DeviceEntry* State::FindSession(SessionId session) {
  const auto it = sessions_.find(session);
  return it == sessions_.end() ? nullptr : it->second;
}

JobEntry* State::FindJob(const std::string& job_id) {
  const auto it = jobs_.find(job_id);
  return it == jobs_.end() ? nullptr : it->second.get();
}

const JobEntry* State::FindJob(const std::string& job_id) const {
  const auto it = jobs_.find(job_id);
  return it == jobs_.end() ? nullptr : it->second.get();
}

RunEntry* State::FindRun(const std::string& run_id) {
  const auto it = runs_.find(run_id);
  return it == runs_.end() ? nullptr : it->second;
}

const v1::Job* State::FindRequest(const std::string& request_id) {
  const auto it = requests_.find(request_id);
  if (it == requests_.end()) return nullptr;
  if (const JobEntry* open = FindJob(it->second)) return &open->job;
  return FindClosedJob(it->second);
}

const v1::Job* State::FindClosedJob(const std::string& job_id) const {
  const auto it = closed_jobs_.find(job_id);
  return it == closed_jobs_.end() ? nullptr : &it->second;
}

v1::Run* State::FindClosedRun(const std::string& run_id) {
  const auto it = closed_runs_.find(run_id);
  return it == closed_runs_.end() ? nullptr : &it->second;
}

DeviceEntry& State::AddDevice(v1::Device device) {
  DeviceEntry& entry = devices_[device.device_id()];
  entry.device = std::move(device);
  entry.own.device = &entry;
  entry.own.number = next_pool_++;
  return entry;
}

void State::RemoveDevice(const std::string& device_id) {
  const auto it = devices_.find(device_id);
  if (it == devices_.end()) return;
  if (it->second.armed) timers_.erase({*it->second.armed, &it->second});
  devices_.erase(it);
}

void State::BindSession(SessionId session, DeviceEntry* device) {
  sessions_[session] = device;
  device->session = session;
  device->silent = false;
}

void State::UnbindSession(SessionId session) {
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  it->second->session = 0;
  it->second->silent = false;
  sessions_.erase(it);
}

JobEntry& State::AddJob(v1::Job job) {
  const std::string job_id = job.job_id();
  if (!job.request_id().empty()) requests_[job.request_id()] = job_id;
  std::unique_ptr<JobEntry>& entry = jobs_[job_id];
  entry = std::make_unique<JobEntry>();
  entry->job = std::move(job);
  entry->sequence = next_sequence_++;
  return *entry;
}

RunEntry& State::AddRun(JobEntry* job, v1::Run run) {
  auto entry = std::make_unique<RunEntry>();
  entry->run = std::move(run);
  entry->job = job;
  entry->index = job->runs.size();
  RunEntry& result = *entry;
  runs_[result.run.run_id()] = &result;
  job->runs.push_back(std::move(entry));
  return result;
}

void State::CloseJob(const std::string& job_id) {
  const auto it = jobs_.find(job_id);
  if (it == jobs_.end()) return;
  for (const std::unique_ptr<RunEntry>& run : it->second->runs) {
    runs_.erase(run->run.run_id());
    RememberRun(std::move(run->run));
  }
  if (closed_job_order_.size() >= kClosedJobs) {
    const auto oldest = closed_jobs_.find(closed_job_order_.front());
    if (oldest != closed_jobs_.end()) {  // it may have been forgotten before
      requests_.erase(oldest->second.request_id());
      closed_jobs_.erase(oldest);
    }
    closed_job_order_.pop_front();
  }
  closed_jobs_[job_id] = std::move(it->second->job);
  closed_job_order_.push_back(job_id);
  jobs_.erase(it);
}

void State::RememberRun(v1::Run run) {
  Slim(&run);
  const std::string run_id = run.run_id();
  if (!closed_runs_.insert_or_assign(run_id, std::move(run)).second) return;
  closed_run_order_.push_back(run_id);
  if (closed_run_order_.size() > kClosedRuns) {
    closed_runs_.erase(closed_run_order_.front());
    closed_run_order_.pop_front();
  }
}

absl::Status State::ForgetRun(const std::string& job_id, const std::string& run_id) {
  if (jobs_.contains(job_id)) return absl::FailedPreconditionError("job " + job_id + " has not ended");
  // A record that waits for the run would find it, and be written to what is deleted by then.
  if (waiting_.contains(run_id)) return absl::UnavailableError("records of run " + run_id + " are just coming in");
  closed_runs_.erase(run_id);
  return absl::OkStatus();
}

absl::Status State::ForgetJob(const std::string& job_id) {
  if (jobs_.contains(job_id)) return absl::FailedPreconditionError("job " + job_id + " has not ended");
  const auto it = closed_jobs_.find(job_id);
  if (it == closed_jobs_.end()) return absl::OkStatus();
  requests_.erase(it->second.request_id());
  closed_jobs_.erase(it);
  return absl::OkStatus();
}

void State::Arm(DeviceEntry* device, std::chrono::nanoseconds at) {
  if (device->armed) {
    if (*device->armed <= at) return;
    timers_.erase({*device->armed, device});
  }
  device->armed = at;
  timers_.insert({at, device});
}

std::optional<std::chrono::nanoseconds> State::NextTimer() const {
  if (timers_.empty()) return plans_armed_;
  const std::chrono::nanoseconds first = timers_.begin()->first;
  return plans_armed_ ? std::min(first, *plans_armed_) : first;
}

void State::ArmPlans(std::chrono::nanoseconds at) {
  if (!plans_armed_ || at < *plans_armed_) plans_armed_ = at;
}

bool State::TakePlansDue(std::chrono::nanoseconds now) {
  if (!plans_armed_ || *plans_armed_ > now) return false;
  plans_armed_.reset();
  return true;
}

DeviceEntry* State::TakeDue(std::chrono::nanoseconds now) {
  if (timers_.empty() || timers_.begin()->first > now) return nullptr;
  DeviceEntry* device = timers_.begin()->second;
  timers_.erase(timers_.begin());
  device->armed.reset();
  return device;
}

bool State::AddWaiting(SessionId session, v1::Record record) {
  std::vector<WaitingRecord>& waiting = waiting_[record.run_id()];
  waiting.push_back({session, std::move(record)});
  return waiting.size() == 1;
}

std::vector<State::WaitingRecord> State::TakeWaiting(const std::string& run_id) {
  const auto it = waiting_.find(run_id);
  if (it == waiting_.end()) return {};
  std::vector<WaitingRecord> waiting = std::move(it->second);
  waiting_.erase(it);
  return waiting;
}

}  // namespace ballast::core
