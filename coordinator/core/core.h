// The coordinator's decisions: which run goes where, how it ends, what is kept and who is told. Everything it knows
// comes in as events with a time; everything it wants comes out as actions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/planning_service.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "coordinator/core/action.h"
#include "coordinator/core/device_desk.h"
#include "coordinator/core/health_desk.h"
#include "coordinator/core/ingest.h"
#include "coordinator/core/job_desk.h"
#include "coordinator/core/reservation_desk.h"
#include "coordinator/core/run_queue.h"
#include "coordinator/core/schedule_desk.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/core/session_desk.h"
#include "coordinator/core/state.h"
#include "coordinator/core/wait_reasons.h"

namespace ballast::core {

// What is stored and has not come to its end.
struct StoredState {
  std::vector<v1::Job> jobs;  // in order of creation
  std::vector<v1::Run> runs;  // all of those jobs
  std::vector<v1::Device> devices;
  std::vector<v1::Reservation> reservations;
  std::vector<v1::Schedule> schedules;
};

// A deterministic state machine: no clock, thread, network, disk or randomness inside. Every event appends to
// `actions`. Whatever leaves the program because of an event (outputs, the value that was returned, a refusal too) may
// leave only once every mutation up to and including that event's is committed; then a crash at any instant loses
// nothing that anybody was told. If a commit fails, drop the core and start a new one from what is stored. Not
// thread-safe.
class Core {
 public:
  explicit Core(CoreOptions options);

  // Begins from what is stored; once, before any other event. No device is connected then; terms of leases begin anew,
  // because the coordinator was the one that was away. DATA_LOSS where the parts do not fit together.
  [[nodiscard]] absl::Status Restore(const Instant& now, StoredState stored, Actions* actions);

  // --- users
  // ---------------------------------------------------------------------------------------------------------------------------

  // Takes in a job, of a user or one that the core wanted (WantJob). The same request_id gives the same job as long as
  // the core remembers it (all open jobs and the last ended ones). NOT_FOUND, FAILED_PRECONDITION as in SelectDevices;
  // INVALID_ARGUMENT where it would have too many runs; FAILED_PRECONDITION where the schedule that it is of is no
  // more.
  absl::StatusOr<v1::Job> Submit(const Instant& now, Submission submission, Actions* actions);
  // NOT_FOUND where no open or recently ended job has this identifier: the store may know it.
  absl::StatusOr<v1::Job> CancelJob(const Instant& now, const std::string& job_id, Actions* actions);
  // The whole state of an open job: the job, then its runs. From now on its changes are published, until as many
  // Unwatch. Nothing where the job is not open.
  std::optional<std::vector<v1::JobUpdate>> Watch(const Instant& now, const std::string& job_id);
  void Unwatch(const std::string& job_id);
  // Says in the job what its runs wait for at this moment. Nothing where it is not open.
  void FillWaitReasons(const Instant& now, v1::Job* job) const;
  // A job that the core wanted was submitted before, or cannot be.
  void WantedJobKnown(const Instant& now, const JobOrigin& origin, const std::string& job_id, Actions* actions);
  void WantedJobFailed(const Instant& now, const JobOrigin& origin, const std::string& reason, Actions* actions);

  // The device as it is this instant, fresher than what is stored. NOT_FOUND.
  absl::StatusOr<v1::Device> GetDevice(const std::string& device_id);
  // NOT_FOUND, INVALID_ARGUMENT.
  absl::StatusOr<v1::Device> LabelDevice(const Instant& now, const v1::LabelDeviceRequest& request, Actions* actions);
  // Drains a device, or resumes it; that ends a quarantine too. NOT_FOUND.
  absl::StatusOr<v1::Device> SetDrained(const Instant& now, const std::string& device_id, bool drained,
                                        Actions* actions);
  // NOT_FOUND, FAILED_PRECONDITION. The device as it was.
  absl::StatusOr<v1::Device> RemoveDevice(const Instant& now, const std::string& device_id, Actions* actions);

  // Reserves devices, under an identifier that is new. Codes as in CreateReservation of the service.
  absl::StatusOr<v1::Reservation> CreateReservation(const Instant& now, const std::string& reservation_id,
                                                    const v1::CreateReservationRequest& request, Actions* actions);
  // Those that have not ended, by their beginning; of this holder, or all where it is empty.
  [[nodiscard]] std::vector<v1::Reservation> ListReservations(const std::string& holder) const;
  // NOT_FOUND; PERMISSION_DENIED where it is another's than the requester's, and he is known and no administrator.
  absl::StatusOr<v1::Reservation> EndReservation(const Instant& now, const std::string& reservation_id,
                                                 const std::string& requester, bool administrator, Actions* actions);

  // Makes or replaces a schedule, whose job was checked. INVALID_ARGUMENT where its times cannot be read; codes of
  // SelectDevices; PERMISSION_DENIED as in EndReservation.
  absl::StatusOr<v1::Schedule> SetSchedule(const Instant& now, v1::Schedule schedule, bool administrator,
                                           Actions* actions);
  [[nodiscard]] std::vector<v1::Schedule> ListSchedules() const;
  // NOT_FOUND.
  [[nodiscard]] absl::StatusOr<v1::Schedule> FindSchedule(const std::string& schedule_id) const;
  // Pauses a schedule, or resumes it from now on; its job was checked then. NOT_FOUND; codes of SetSchedule.
  absl::StatusOr<v1::Schedule> SetPaused(const Instant& now, const std::string& schedule_id, bool paused,
                                         const std::string& requester, bool administrator, Actions* actions);
  absl::StatusOr<v1::Schedule> RemoveSchedule(const Instant& now, const std::string& schedule_id,
                                              const std::string& requester, bool administrator, Actions* actions);

  // Forgets a run, or a job whose runs were all forgotten: what is older than users want it kept. Its records are
  // rejected from then on. FAILED_PRECONDITION where it is of an open job; UNAVAILABLE while something of it is under
  // way. Ended ones that the core holds nothing of are fine: only the store knows whether they exist.
  absl::Status ForgetRun(const std::string& job_id, const std::string& run_id, Actions* actions);
  absl::Status ForgetJob(const std::string& job_id, Actions* actions);

  // --- workers
  // -------------------------------------------------------------------------------------------------------------------------

  // A message of a session. The first of a session must be `hello`; messages of sessions that are over are ignored:
  // what they carried comes again.
  void Receive(const Instant& now, SessionId session, v1::WorkerMessage message, Actions* actions);
  void Disconnect(const Instant& now, SessionId session, Actions* actions);

  // --- the outside
  // ----------------------------------------------------------------------------------------------------------------------

  // Answers LoadRun: the run as it is stored, or NOT_FOUND. Other errors must not come here: they mean that the store
  // cannot be relied on.
  void RunLoaded(const Instant& now, const std::string& run_id, absl::StatusOr<v1::Run> run, Actions* actions);

  // The coordinator could not hear its workers for this long, until now: silence in that time is not theirs, and no
  // term of a lease, a timeout or a repetition runs in it.
  void ForgiveSilence(const Instant& now, std::chrono::nanoseconds duration);

  // When Tick is to be called at the latest, on the steady clock; nothing where no time is waited for.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> NextWakeUp() const { return state_.NextTimer(); }
  void Tick(const Instant& now, Actions* actions);

 private:
  // Ends a turn: timers, then everything that changed.
  void Finish(Turn* turn);

  absl::Status RestoreRun(Turn& turn, v1::Run stored);
  void NoteWanted(Turn& turn, const JobOrigin& origin, const std::string& job_id);

  State state_;
  RunQueue queue_;
  HealthDesk health_desk_;
  Scheduler scheduler_;
  WaitReasons wait_reasons_;
  ReservationDesk reservation_desk_;
  ScheduleDesk schedule_desk_;
  JobDesk job_desk_;
  DeviceDesk device_desk_;
  SessionDesk session_desk_;
  Ingest ingest_;
};

}  // namespace ballast::core
