// What really happened, and what must hold whatever happens.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ballast/v1/record.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "coordinator/core/action.h"
#include "tests/simulation/timeline.h"
#include "worker/agent/attempt_key.h"

namespace ballast::simulation {

using agent::AttemptKey;

// Told of every promise and every deed; holds them against each other. Sees both sides at once, which neither of them
// does. Keeps the first problem. Not thread-safe.
class Ledger {
 public:
  explicit Ledger(const Timeline* timeline) : timeline_(timeline) {}

  // The first thing that went wrong; empty where nothing did.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  void Fail(std::string problem);

  // --- devices ---
  // A record leaves a device.
  void Sent(const std::string& device_id, const v1::Record& record);
  // A runner is started, ends.
  void RunnerStarted(const std::string& device_id, const AttemptKey& key);
  void RunnerEnded(const std::string& device_id);
  // The device's disk was replaced: what it had is gone, and so are its promises.
  void DiskReplaced(const std::string& device_id);
  // A device that comes back has this record, or not.
  void CheckSurvived(const std::string& device_id, const std::set<std::pair<AttemptKey, std::uint64_t>>& held);
  void Rejected(const v1::RecordRejected& rejected);
  void AckArrived(const v1::RecordAck& ack);
  // An offset of the device's clock that was written down, and the true one.
  void ClockOffset(const v1::ClockOffset& offset, nanoseconds truth);
  void CoordinatorClockSet() { clock_set_ = timeline_->now(); }

  // --- contact ---
  // The coordinator got, or could have read, a word of the device.
  void Heard(const std::string& device_id) { heard_[device_id] = timeline_->now(); }
  void CoordinatorStarted() { started_ = timeline_->now(); }
  // It heard nobody for this long, until now.
  void CoordinatorSlept(nanoseconds time);
  // What a device carries out or has records of.
  std::function<std::set<AttemptKey>(const std::string& device_id)> held_by;

  // --- the coordinator ---
  // A mutation leaves the core. `before`: the run as the core had it last.
  void Decided(std::span<const core::Mutation> mutations);
  void CoreStartedOver() {
    decided_.clear();
    decided_drained_.clear();
    reserved_ = reservations_;
    quarantined_.clear();
    for (const auto& [device_id, device] : devices_) {
      if (device.health().has_quarantine_time()) quarantined_.insert(device_id);
    }
  }
  void SetFleetLimit(std::uint32_t limit) { fleet_limit_ = limit; }
  // The coordinator's wall clock.
  std::function<base::SystemTime()> wall;
  // It is committed.
  void Committed(const core::Mutation& mutation);
  // It leaves, to a device.
  void Said(const std::string& device_id, std::uint64_t session, const v1::CoordinatorMessage& message);
  void SaidHello(std::uint64_t session, const v1::Hello& hello);
  void Submitted(const std::string& job_id) { submitted_.insert(job_id); }
  // The user was told that the job is cancelled.
  void Cancelled(const std::string& job_id);

  // --- what is stored ---
  [[nodiscard]] const std::map<std::string, v1::Job>& jobs() const { return jobs_; }
  [[nodiscard]] const std::map<std::string, v1::Run>& runs() const { return runs_; }
  [[nodiscard]] const std::map<std::string, v1::Device>& devices() const { return devices_; }
  [[nodiscard]] const std::map<std::string, v1::Reservation>& reservations() const { return reservations_; }
  // A core from what is stored.
  [[nodiscard]] std::vector<v1::Job> OpenJobs() const;
  [[nodiscard]] std::vector<v1::Run> OpenRuns() const;

  [[nodiscard]] bool AllEnded() const;
  // When nothing moves any more.
  void CheckEnd();

 private:
  struct Truth {
    v1::Record::ContentCase kind = v1::Record::CONTENT_NOT_SET;
    std::string content;  // of a chunk, its body; of an end, its outcome
    std::string device_id;
    bool acked = false;
  };
  using RecordKey = std::pair<AttemptKey, std::uint64_t>;

  void CommittedRun(const v1::Run& run);
  [[nodiscard]] bool IsDrained(const std::string& device_id) const;
  [[nodiscard]] static const v1::Attempt* Find(const v1::Run& run, std::uint32_t attempt);  // null: none
  void DecidedOther(const core::Mutation& mutation);
  void DecidedRun(const v1::Run& run, const v1::Run* before);
  // A device is given a run that waited.
  void DecidedAssignment(const v1::Run& run);
  // The last that is known of every run: decided, or stored.
  [[nodiscard]] std::map<std::string, const v1::Run*> KnownRuns() const;
  void CheckAck(const v1::RecordAck& ack);
  [[nodiscard]] bool IsStored(const AttemptKey& key, std::uint64_t seq, const Truth& truth) const;

  const Timeline* timeline_;
  std::string problem_;
  std::map<RecordKey, Truth> sent_;
  std::set<AttemptKey> carried_out_;
  std::map<std::string, AttemptKey> running_;  // device → what its runner does
  std::map<AttemptKey, std::string> said_;     // the end of an attempt as its device has it
  std::map<std::string, nanoseconds> heard_;
  nanoseconds started_{};
  std::optional<nanoseconds> clock_set_;
  std::set<std::string> replaced_;

  std::map<std::string, v1::Job> jobs_;
  std::vector<std::string> job_order_;
  std::map<std::string, v1::Run> runs_;
  std::map<std::string, v1::Device> devices_;
  std::map<RecordKey, std::pair<std::string, int>> chunks_;  // body, how often it was counted
  std::map<std::string, v1::Run> decided_;
  std::map<std::string, bool> decided_drained_;
  std::set<AttemptKey> told_overdue_;
  std::map<std::string, v1::Job> decided_jobs_;
  std::map<std::string, v1::Reservation> reservations_;
  std::map<std::string, v1::Reservation> reserved_;  // as the core has it
  std::set<std::string> quarantined_;                // likewise
  std::uint32_t fleet_limit_ = 0;
  std::set<std::string> submitted_;
  std::map<std::string, std::map<std::string, std::uint32_t>> cancelled_;  // job → its runs' attempts then
  std::map<std::uint64_t, AttemptKey> active_in_;                          // what a session began with
};

}  // namespace ballast::simulation
