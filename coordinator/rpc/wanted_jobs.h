// Submits the jobs that the core itself wants.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/job_intake.h"

namespace ballast::coordinator {

// A thread of its own, since finding out what a job names can take long. What cannot be submitted is told to the core,
// unless it may go better soon: then the core wants it again. Thread-safe.
class WantedJobs {
 public:
  WantedJobs() = default;
  ~WantedJobs() { Stop(); }
  WantedJobs(const WantedJobs&) = delete;
  WantedJobs& operator=(const WantedJobs&) = delete;

  // Does not block; also before Start.
  void Add(core::WantJob want);
  // What is given must outlive Stop. Once.
  void Start(Actor* actor, JobIntake* intake);
  // Waits for the submission that is going on. Repeatable.
  void Stop();

 private:
  void Run(const std::stop_token& stop, Actor* actor, JobIntake* intake);

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<core::WantJob> queue_;    // guarded by mutex_
  std::set<std::string> request_ids_;  // guarded by mutex_; of what is queued or being submitted
  std::jthread thread_;
};

}  // namespace ballast::coordinator
