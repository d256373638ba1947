// What becomes old is thinned, and in the end removed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/config.pb.h"
#include "common/base/clock.h"
#include "storage/store.h"

namespace ballast::retention {

// How removing is done by whoever else remembers what is removed. May block; called from the thread of the pass.
struct Removal {
  // Removes a run of a job that has ended, and forgets it. UNAVAILABLE: not now.
  std::function<absl::Status(const std::string& job_id, const std::string& run_id)> run;
  // Removes a job that has ended and has no runs any more.
  std::function<absl::Status(const std::string& job_id)> job;
  // Removes the entries of the audit log that are older. May be empty.
  std::function<absl::Status(base::SystemTime before)> audit;
};

// What a pass has done.
struct PassCount {
  std::uint64_t thinned_runs = 0;
  std::uint64_t removed_runs = 0;
  std::uint64_t removed_jobs = 0;
  std::uint64_t released_bytes = 0;  // given back to the file system
};

// Carries out a RetentionConfig, one pass every `interval`, in steps of some milliseconds of the writer's time, after
// each of which it lets others write for as long as the step took. Never touches a run that has not ended, nor one of
// which its device may still bring records. The newest job always stays, since identifiers of new ones are greater than
// it. The store and the clock must outlive it. Thread-safe.
class Retention {
 public:
  Retention(storage::Store* store, const base::Clock* clock, v1::RetentionConfig config, Removal removal);
  ~Retention() { Stop(); }
  Retention(const Retention&) = delete;
  Retention& operator=(const Retention&) = delete;

  // Begins a thread that makes the passes, the first at once. Failures are logged, and the next pass tries again.
  void Start();
  // Ends after the step that is being made. Repeatable.
  void Stop();

  // One pass, in the calling thread. CANCELLED on `stop`; codes of the store.
  [[nodiscard]] absl::StatusOr<PassCount> Pass(const std::stop_token& stop);

 private:
  void Run(const std::stop_token& stop);
  // Waits that long, or until `stop`.
  void Pause(std::chrono::nanoseconds duration, const std::stop_token& stop);
  [[nodiscard]] absl::Status MakeStep(storage::WriteBatch batch, const std::stop_token& stop);
  [[nodiscard]] absl::Status ThinSamples(base::SystemTime now, const std::stop_token& stop, PassCount* count);
  [[nodiscard]] absl::Status RemoveJobs(base::SystemTime now, const std::stop_token& stop, PassCount* count);
  // False where the job cannot go yet.
  [[nodiscard]] absl::StatusOr<bool> RemoveJob(const v1::Job& job, base::SystemTime now, const std::stop_token& stop,
                                               PassCount* count);
  [[nodiscard]] absl::Status ReleaseSpace(const std::stop_token& stop, PassCount* count);

  storage::Store* const store_;
  const base::Clock* const clock_;
  const v1::RetentionConfig config_;
  const Removal removal_;
  std::mutex mutex_;
  std::condition_variable_any paused_;
  std::jthread thread_;
};

}  // namespace ballast::retention
