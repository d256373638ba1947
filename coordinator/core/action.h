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
using Mutation = std::variant<PutJob, PutRun, PutDevice, DeleteDevice, PutChunk>;

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
using Output = std::variant<SendMessage, EndSession, PublishUpdate, CloseWatches, LoadRun>;

// What came of some events, in order. The outputs, and whatever the calls returned, may leave only once all mutations
// up to here are committed.
struct Actions {
  std::vector<Mutation> mutations;
  std::vector<Output> outputs;
};

}  // namespace ballast::core
