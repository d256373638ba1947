// What the core wants done: everything that leaves it is one of these.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/planning.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/telemetry.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "common/base/clock.h"

namespace ballast::core {

// The time of an event: `wall` is written down for people, `steady` is what terms are counted with, so that a clock
// that is set does not expire them.
struct Instant {
  base::SystemTime wall;
  std::chrono::nanoseconds steady{};
};

// Names one session of a worker. Given by the caller; never 0, never used twice.
using SessionId = std::uint64_t;

// Why the core itself wants a job; empty for one that a user submits.
struct JobOrigin {
  std::string schedule_id;
  base::SystemTime scheduled_time;     // of the schedule's times, the one that the job is for
  std::string health_check_device_id;  // whose self-test it is

  [[nodiscard]] bool wanted() const { return !schedule_id.empty() || !health_check_device_id.empty(); }
};

// Changes to what is kept, in the words of storage/store.h.
struct PutJob {
  v1::Job job;
};
struct PutRun {
  v1::Run run;
};
struct PutDevice {
  v1::Device device;
};
struct DeleteDevice {
  std::string device_id;
};
struct PutChunk {
  std::string run_id;
  std::uint32_t attempt = 0;
  std::uint64_t seq = 0;
  v1::Chunk chunk;
};
struct PutReservation {
  v1::Reservation reservation;
};
struct DeleteReservation {
  std::string reservation_id;
};
struct PutSchedule {
  v1::Schedule schedule;
};
struct DeleteSchedule {
  std::string schedule_id;
};
struct DeleteRun {
  std::string run_id;
};
struct DeleteJob {
  std::string job_id;
};
using Mutation = std::variant<PutJob, PutRun, PutDevice, DeleteDevice, PutChunk, PutReservation, DeleteReservation,
                              PutSchedule, DeleteSchedule, DeleteRun, DeleteJob>;

// A message for a worker.
struct SendMessage {
  SessionId session = 0;
  v1::CoordinatorMessage message;
};
// The session is over for the core; the worker is told why.
struct EndSession {
  SessionId session = 0;
  absl::Status status;
};
// A change that the watchers of a job are to see.
struct PublishUpdate {
  std::string job_id;
  v1::JobUpdate update;
};
// The job has ended and every update of it was published: its watchers are done.
struct CloseWatches {
  std::string job_id;
};
// A run that the core no longer holds is needed: read it and call Core::RunLoaded.
struct LoadRun {
  std::string run_id;
};
// A job that the core wants, of a schedule or to test a device. Find out what its specification names, and call
// Core::Submit with this origin, Core::WantedJobKnown where the request_id has its job already, or
// Core::WantedJobFailed. It is wanted again after a minute as long as none of them comes.
struct WantJob {
  JobOrigin origin;
  v1::JobSpec spec;
  std::string request_id;
  std::string submitter;
};
using Output = std::variant<SendMessage, EndSession, PublishUpdate, CloseWatches, LoadRun, WantJob>;

// What came of some events, in order. The outputs, and whatever the calls returned, may leave only once all mutations
// up to here are committed.
struct Actions {
  std::vector<Mutation> mutations;
  std::vector<Output> outputs;
};

}  // namespace ballast::core
