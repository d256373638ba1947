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

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ballast/v1/planning.pb.h"
#include "ballast/v1/record.pb.h"
#include "coordinator/core/action.h"
#include "coordinator/core/device_filter.h"
#include "coordinator/core/job_variants.h"
#include "coordinator/core/pool.h"

namespace ballast::core {

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
  Lane* lane = nullptr;                // where it waits
};

// Of a job that goes to any of several devices: what one device had of it.
struct Placement {
  std::set<std::size_t> groups;  // runs of a group go to different devices (JobEntry::GroupOf)
  std::size_t cursor = 0;        // nothing that waits before this run is for the device, as of
  std::uint64_t generation = 0;  // this JobEntry::generation
};

// That a device cannot do a variant of a job.
struct Refusal {
  v1::OutcomeKind kind = v1::OUTCOME_KIND_UNSPECIFIED;
  std::string device_id;
  std::string reason;
};

// A job that has not ended.
struct JobEntry {
  v1::Job job;
  std::uint64_t sequence = 0;              // order of submission
  std::chrono::nanoseconds waits_since{};  // its submission, on the steady clock
  std::vector<std::unique_ptr<RunEntry>> runs;
  std::uint32_t active = 0;                              // runs that are assigned or going on
  std::map<std::uint64_t, std::unique_ptr<Lane>> lanes;  // by the number of the pool; those that hold runs
  // Where it goes to any of several devices: what each had, how often a run came (back) to wait, and the key of its
  // pool.
  std::map<std::string, Placement> placements;
  std::uint64_t generation = 0;
  std::string pool_key;
  std::map<Variant, Refusal> refusals;  // the last of a device that its runs might have gone to, of each variant
  std::uint32_t watchers = 0;
  bool changed = false;

  // Whether its runs wait for any of several devices.
  [[nodiscard]] bool floats() const { return job.spec().devices().count() > 0; }
  // The runs of one variant in one repetition: neighbours, as many as devices are wanted.
  [[nodiscard]] std::size_t GroupOf(std::size_t run_index) const { return run_index / job.spec().devices().count(); }
  [[nodiscard]] bool AtLimit() const {
    return job.spec().max_parallel_runs() > 0 && active >= job.spec().max_parallel_runs();
  }
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
  std::optional<std::chrono::nanoseconds> blocked_until;    // refused a run because it was busy
  Pool own;                                                 // runs that wait for this device alone
  std::vector<Pool*> shared;                                // the pools it is a member of, by their number
  std::map<std::int32_t, std::chrono::nanoseconds> served;  // priority → when it last had a run of that
  // What this one cannot do of jobs for any of several devices, as it said since its hello; by job.
  std::map<std::string, std::set<Variant>> refused;
  std::optional<std::chrono::nanoseconds> cool_until;  // at rest
  std::optional<std::chrono::nanoseconds> next_check;  // when its self-test is to be asked for
  std::vector<const v1::Reservation*> reservations;    // by their beginning
  std::optional<std::chrono::nanoseconds> armed;       // its entry among the timers
  bool changed = false;

  [[nodiscard]] bool online() const { return session != 0 && !silent; }
  [[nodiscard]] bool quarantined() const { return device.health().has_quarantine_time(); }
  // Whether it has said that it cannot do the run.
  [[nodiscard]] bool Refuses(const RunEntry& run) const;
  // The reservation that holds at a time; null where none does.
  [[nodiscard]] const v1::Reservation* ReservationAt(base::SystemTime wall) const;
};

// How runs are shared out.
struct SchedulingOptions {
  std::uint32_t max_parallel_runs = 0;  // of the fleet; zero: no bound
  std::chrono::nanoseconds cool_down{0};
  std::chrono::nanoseconds priority_step = std::chrono::minutes(10);
  std::chrono::nanoseconds share_half_life = std::chrono::hours(24);
  std::uint32_t quarantine_after = 3;  // zero: never
  std::chrono::nanoseconds health_check_interval = std::chrono::minutes(5);
  v1::JobSpec health_check;  // without a workload: no self-tests
};

struct CoreOptions {
  std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(2);
  std::chrono::nanoseconds offline_after = std::chrono::seconds(15);
  std::string version;
  DidYouMean did_you_mean;  // may be empty
  SchedulingOptions scheduling;
  // The time zone with an IANA name, or why there is none. Empty: UTC alone is known.
  std::function<absl::StatusOr<absl::TimeZone>(const std::string&)> find_time_zone;
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
  [[nodiscard]] const JobEntry* FindJob(const std::string& job_id) const;
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
  // Forget what is remembered of a job that was closed, as Core::ForgetRun and ForgetJob.
  [[nodiscard]] absl::Status ForgetRun(const std::string& job_id, const std::string& run_id);
  [[nodiscard]] absl::Status ForgetJob(const std::string& job_id);

  // Runs that are assigned or going on, in the whole fleet.
  std::uint32_t active_runs = 0;
  // Reservations that have not ended, and schedules, by their identifiers.
  std::map<std::string, v1::Reservation> reservations;
  std::map<std::string, v1::Schedule> schedules;

  [[nodiscard]] std::uint64_t NextPoolNumber() { return next_pool_++; }

  // Timers: one a device, and one for plans. Arm never delays one that is set: whoever is woken too early arms again.
  void Arm(DeviceEntry* device, std::chrono::nanoseconds at);
  [[nodiscard]] std::optional<std::chrono::nanoseconds> NextTimer() const;
  // Takes a device whose time has come; null where there is none.
  [[nodiscard]] DeviceEntry* TakeDue(std::chrono::nanoseconds now);
  void ArmPlans(std::chrono::nanoseconds at);
  // Whether the time of plans has come; it is not armed then.
  [[nodiscard]] bool TakePlansDue(std::chrono::nanoseconds now);

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
  std::optional<std::chrono::nanoseconds> plans_armed_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_pool_ = 1;
};

}  // namespace ballast::core
