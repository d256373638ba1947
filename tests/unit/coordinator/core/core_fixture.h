// A core with a store that commits at once, and short words for what workers and users say to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "coordinator/core/core.h"
#include "gtest/gtest.h"

namespace ballast::core {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// What a store keeps of the mutations it is given; refuses those that refer to what is not there.
struct KeptState {
  std::map<std::string, v1::Job> jobs;
  std::vector<std::string> job_order;
  std::map<std::string, v1::Run> runs;
  std::map<std::string, v1::Device> devices;
  std::map<std::tuple<std::string, std::uint32_t, std::uint64_t>, v1::Chunk> chunks;
  std::map<std::string, v1::Reservation> reservations;
  std::map<std::string, v1::Schedule> schedules;

  // Returns what is wrong with the mutation; empty where nothing is.
  std::string Apply(const Mutation& mutation);
  // A restart: what is stored goes into a new core.
  [[nodiscard]] absl::Status RestoreInto(Core* core, const Instant& now, Actions* actions) const;
};

class CoreTest : public testing::Test {
 protected:
  CoreTest();

  // A new core from what is kept, as after a restart. Sessions are gone.
  void Restart();

  void Advance(std::chrono::nanoseconds time) {
    now_.wall += time;
    now_.steady += time;
  }
  // Advances, and calls Tick as often as the core asks for it.
  void AdvanceTicking(std::chrono::nanoseconds time);

  // Applies what the last calls wanted: mutations to `kept`, outputs to the lists below.
  void Settle();

  // A worker of device `device_id` connects, with the capability of pressure. Returns its session.
  SessionId Connect(const std::string& device_id, const std::map<std::string, std::string>& labels = {},
                    const std::vector<HeldRun>& active = {}, const std::vector<HeldRun>& waiting = {});
  void Disconnect(SessionId session);
  void Heartbeat(SessionId session, const std::string& run_id = "", std::uint32_t attempt = 0,
                 std::uint64_t spool_bytes = 0);
  void Started(SessionId session, const std::string& run_id, std::uint32_t attempt = 1);
  void Chunk(SessionId session, const std::string& run_id, std::uint64_t seq, std::uint32_t attempt = 1);
  void Finished(SessionId session, const std::string& run_id, v1::OutcomeKind kind = v1::COMPLETED,
                std::uint64_t seq = 2, std::uint32_t attempt = 1);
  void Send(SessionId session, v1::WorkerMessage message);
  void Refuse(SessionId session, const std::string& run_id, v1::OutcomeKind kind, std::uint32_t attempt = 1);

  // A pressure job; the identifiers are `j-1`, `j-2`, …
  static v1::JobSpec Spec();
  absl::StatusOr<v1::Job> Submit(v1::JobSpec spec, const std::string& request_id = "",
                                 const std::string& submitter = "somebody");
  // A job that the core wanted, as the coordinator submits it.
  absl::StatusOr<v1::Job> SubmitWanted(const WantJob& want);
  std::vector<WantJob> TakeWanted() { return std::exchange(wanted_, {}); }
  // What a job waits for, in short: `COUNT KIND: message`.
  std::vector<std::string> WaitsFor(const std::string& job_id);
  absl::StatusOr<v1::Job> Cancel(const std::string& job_id);

  [[nodiscard]] const v1::Run& Run(const std::string& run_id) const { return kept_.runs.at(run_id); }
  [[nodiscard]] const v1::Job& Job(const std::string& job_id) const { return kept_.jobs.at(job_id); }
  [[nodiscard]] const v1::Device& Device(const std::string& device_id) const { return kept_.devices.at(device_id); }

  // Takes what was said to a session since the last call, in short: `welcome`, `assign RUN/ATTEMPT`, `cancel
  // RUN/ATTEMPT KIND`, `ack RUN/ATTEMPT SEQ,SEQ`, `reject RUN/ATTEMPT`, `end CODE`.
  std::vector<std::string> Said(SessionId session);
  std::vector<std::string> TakeLoads() { return std::exchange(loads_, {}); }
  std::vector<std::string> TakePublished() { return std::exchange(published_, {}); }

  CoreOptions options_;
  std::unique_ptr<Core> core_;
  KeptState kept_;
  Instant now_;
  Actions actions_;
  std::map<SessionId, std::vector<v1::CoordinatorMessage>> messages_;
  std::map<SessionId, std::vector<std::string>> said_;
  std::vector<std::string> loads_;
  std::vector<std::string> published_;
  std::vector<WantJob> wanted_;
  SessionId next_session_ = 1;
  int next_job_ = 1;
};

// A message of a worker with one record.
v1::WorkerMessage RecordMessage(const std::string& run_id, std::uint32_t attempt, std::uint64_t seq);

}  // namespace ballast::core
