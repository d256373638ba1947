// One event on its way through the core. Inside of the core only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/core/action.h"
#include "coordinator/core/state.h"

namespace ballast::core {

// Collects what one event changes and says. Entries that were changed are written once, at the end (Commit). Not
// thread-safe.
class Turn {
 public:
  Turn(const Instant& now, Actions* actions) : now_(now), actions_(actions) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  [[nodiscard]] const Instant& now() const { return now_; }
  [[nodiscard]] base::SystemTime wall() const { return now_.wall; }
  [[nodiscard]] std::chrono::nanoseconds steady() const { return now_.steady; }

  // The entry must outlive the turn.
  void Changed(JobEntry* job);
  void Changed(RunEntry* run);
  void Changed(DeviceEntry* device);
  // The last run of the job has ended; it is closed after the turn.
  void JobEnded(JobEntry* job) { ended_jobs_.push_back(job->job.job_id()); }

  [[nodiscard]] const std::vector<DeviceEntry*>& changed_devices() const { return devices_; }

  void Write(Mutation mutation) { actions_->mutations.push_back(std::move(mutation)); }
  void Send(SessionId session, v1::CoordinatorMessage message);
  void End(SessionId session, absl::Status status);
  void Ack(SessionId session, const std::string& run_id, std::uint32_t attempt, std::uint64_t seq);
  void Reject(SessionId session, const std::string& run_id, std::uint32_t attempt, std::string reason);
  void Load(const std::string& run_id) { actions_->outputs.emplace_back(LoadRun{run_id}); }
  void Want(WantJob want) { actions_->outputs.emplace_back(std::move(want)); }
  void PublishProgress(const std::string& job_id, v1::RunProgress progress);

  // Writes and publishes everything that was changed, and closes the jobs that ended. `complete` adds to a job what
  // only answers have.
  void Commit(State* state, const std::function<void(const JobEntry&, v1::Job*)>& complete);

 private:
  void RefreshDevice(DeviceEntry* device);

  Instant now_;
  Actions* actions_;
  std::vector<JobEntry*> jobs_;
  std::vector<RunEntry*> runs_;
  std::vector<DeviceEntry*> devices_;
  std::vector<std::string> ended_jobs_;
};

}  // namespace ballast::core
