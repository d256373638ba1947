// What the core holds in memory: devices, open jobs and their runs. Inside of the core only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ballast/v1/record.pb.h"
#include "coordinator/core/action.h"

namespace ballast::core {

struct DeviceEntry;
struct JobEntry;

// Place in the queue of a device: priority (negated), order of submission, number of the run.
using QueueKey = std::tuple<std::int32_t, std::uint64_t, std::size_t>;

// A run of an open job.
struct RunEntry {
  v1::Run run;  // ended runs are kept without their bulk (Slim)
  JobEntry* job = nullptr;
  std::size_t index = 0;                  // in the job, from 0
  std::chrono::nanoseconds sent_at{};     // when the assignment or a cancellation was last sent
  std::chrono::nanoseconds heard_at{};    // when a record or progress was last heard
  std::chrono::nanoseconds started_at{};  // when the start was heard
  // When the device was told, in its session, that the run took too long.
  std::optional<std::chrono::nanoseconds> timeout_sent_at;
  std::uint32_t assign_repeats = 0;    // how often the assignment was sent again, as it had left no trace
  std::uint32_t unanswered_sends = 0;  // of the assignment, in the device's session, that were not refused
  std::uint32_t cancel_repeats = 0;    // how often the device was told again to end it, as it went on
  bool changed = false;                // in this turn
};

// A job that has not ended.
struct JobEntry {
  v1::Job job;
  std::uint64_t sequence = 0;  // order of submission
  std::vector<std::unique_ptr<RunEntry>> runs;
  std::uint32_t watchers = 0;
  bool changed = false;
};

// What a worker says it is carrying out.
struct HeldRun {
  std::string run_id;
  std::uint32_t attempt = 0;
  friend bool operator==(const HeldRun&, const HeldRun&) = default;
};

// A device, connected or not.
struct DeviceEntry {
  v1::Device device;
  std::map<std::string, std::string> worker_labels;  // of the worker's configuration
  SessionId session = 0;                             // 0: not connected
  bool silent = false;                               // connected, but not heard for `offline_after`
  std::chrono::nanoseconds last_heard{};
  RunEntry* active = nullptr;       // the run that is assigned to it or going on there
  std::optional<HeldRun> occupied;  // what its worker is still busy with although the core has closed it
  bool occupied_told = false;       // and whether it was told in this session to end that
  std::optional<HeldRun> missed;    // the active attempt, of which the hello of its session had nothing
  std::optional<std::chrono::nanoseconds> blocked_until;  // refused a run because it was busy
  std::map<QueueKey, RunEntry*> queue;
  std::optional<std::chrono::nanoseconds> armed;  // its entry among the timers
  bool changed = false;

  [[nodiscard]] bool online() const { return session != 0 && !silent; }
};

struct CoreOptions {
  std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(2);
  std::chrono::nanoseconds offline_after = std::chrono::seconds(15);
  std::string version;
  // `did you mean 'x'?` for a name and the names there are, or nothing. May be empty.
  std::function<std::string(const std::string&, const std::vector<std::string>&)> did_you_mean;
};

// The containers, and what keeps them consistent with each other. Not thread-safe.
class State {
 public:
  explicit State(CoreOptions options) : options_(std::move(options)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] const CoreOptions& options() const { return options_; }

  // Null where there is none.
  [[nodiscard]] DeviceEntry* FindDevice(const std::string& device_id);
  [[nodiscard]] DeviceEntry* FindSession(SessionId session);
  [[nodiscard]] JobEntry* FindJob(const std::string& job_id);
  [[nodiscard]] RunEntry* FindRun(const std::string& run_id);
  // A job of this submission: an open one, or one of the last that ended.
  [[nodiscard]] const v1::Job* FindRequest(const std::string& request_id);
  // One of the jobs that ended last.
  [[nodiscard]] const v1::Job* FindClosedJob(const std::string& job_id) const;
  // A run of a job that has ended, if it is among those remembered.
  [[nodiscard]] v1::Run* FindClosedRun(const std::string& run_id);

  [[nodiscard]] std::map<std::string, DeviceEntry>& devices() { return devices_; }
  [[nodiscard]] const std::map<std::string, std::unique_ptr<JobEntry>>& jobs() const { return jobs_; }

  DeviceEntry& AddDevice(v1::Device device);
  void RemoveDevice(const std::string& device_id);
  void BindSession(SessionId session, DeviceEntry* device);
  void UnbindSession(SessionId session);

  // Adds an open job without runs; it comes after all others in the queue.
  JobEntry& AddJob(v1::Job job);
  RunEntry& AddRun(JobEntry* job, v1::Run run);
  // Forgets a job whose runs have all ended, but for what duplicates and late messages need.
  void CloseJob(const std::string& job_id);
  // Remembers a run of a closed job, without its bulk.
  void RememberRun(v1::Run run);

  [[nodiscard]] static QueueKey KeyOf(const RunEntry& run);

  // Timers: one a device. Arm never delays one that is set: whoever is woken too early arms again.
  void Arm(DeviceEntry* device, std::chrono::nanoseconds at);
  [[nodiscard]] std::optional<std::chrono::nanoseconds> NextTimer() const;
  // Takes a device whose time has come; null where there is none.
  [[nodiscard]] DeviceEntry* TakeDue(std::chrono::nanoseconds now);

  // Records that wait for a run to be read (LoadRun).
  struct WaitingRecord {
    SessionId session = 0;
    v1::Record record;
  };
  // Whether this is the first that waits for this run.
  [[nodiscard]] bool AddWaiting(SessionId session, v1::Record record);
  [[nodiscard]] std::vector<WaitingRecord> TakeWaiting(const std::string& run_id);

 private:
  CoreOptions options_;
  std::map<std::string, DeviceEntry> devices_;
  std::unordered_map<SessionId, DeviceEntry*> sessions_;
  std::map<std::string, std::unique_ptr<JobEntry>> jobs_;
  std::unordered_map<std::string, RunEntry*> runs_;
  std::unordered_map<std::string, std::string> requests_;  // request_id → job_id, open and remembered jobs
  std::map<std::string, v1::Job> closed_jobs_;
  std::deque<std::string> closed_job_order_;
  std::unordered_map<std::string, v1::Run> closed_runs_;
  std::deque<std::string> closed_run_order_;
  // By time, then by device: not by where an entry lies in memory, so that the same events have the same consequences.
  struct TimerOrder {
    bool operator()(const std::pair<std::chrono::nanoseconds, DeviceEntry*>& a,
                    const std::pair<std::chrono::nanoseconds, DeviceEntry*>& b) const {
      return std::tie(a.first, a.second->device.device_id()) < std::tie(b.first, b.second->device.device_id());
    }
  };
  std::set<std::pair<std::chrono::nanoseconds, DeviceEntry*>, TimerOrder> timers_;
  std::unordered_map<std::string, std::vector<WaitingRecord>> waiting_;
  std::uint64_t next_sequence_ = 1;
};

}  // namespace ballast::core
