// The coordinator around the real core: output commit, credits and recovery as coordinator/rpc/actor.h has them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/timeline.h"

namespace ballast::simulation {

// What is stored is in the ledger. Not thread-safe.
class SimulatedCoordinator {
 public:
  SimulatedCoordinator(Timeline* timeline, Random* random, Network* network, Ledger* ledger);

  void Start();
  // The process ends at once. `silent`: with its machine.
  void Crash(bool silent);
  [[nodiscard]] bool running() const { return running_; }
  // The process does nothing for a time, as when it was stopped or got no processor; its kernel takes what arrives.
  void Stop(nanoseconds time);
  [[nodiscard]] bool stopped() const { return timeline_->now() < stopped_until_; }

  void OnUp(const ConnectionPointer& connection, v1::WorkerMessage message);
  void OnUpEnd(const ConnectionPointer& connection);
  [[nodiscard]] bool Reads(const Connection& connection) const;

  // What users ask for. They hear of it when it is committed.
  void Submit(core::Submission submission);
  void Cancel(const std::string& job_id);
  void SetDrained(const std::string& device_id, bool drained);
  void Reserve(const std::string& device_id, const std::string& holder, nanoseconds time);
  void EndReservations();

  // Nothing can be committed until there is room again.
  void SetDiskFull(bool full) { disk_full_ = full; }
  // How long a commit takes at most.
  void SetCommitTime(nanoseconds longest) { commit_time_ = longest; }
  // The wall clock is set.
  void SetClock(nanoseconds by);

  [[nodiscard]] base::SystemTime wall() const { return base::SystemTime(timeline_->now() + wall_offset_); }
  [[nodiscard]] bool idle() const {
    return running_ && !stopped() && core_ != nullptr && !in_flight_ && pending_.empty();
  }

  std::function<void(const std::string&)> trace;

 private:
  struct Batch {
    core::Actions actions;
    // What users are told, each with the number of outputs that leave before it.
    std::vector<std::pair<std::size_t, std::function<void()>>> replies;
    std::map<core::SessionId, std::size_t> credits;
    nanoseconds first_heard{};
    [[nodiscard]] bool empty() const {
      return actions.mutations.empty() && actions.outputs.empty() && replies.empty() && credits.empty();
    }
  };
  struct Session {
    ConnectionPointer connection;
    std::string device_id;
    std::size_t waiting = 0;  // messages on their way to the disk
  };

  [[nodiscard]] core::Instant Now() const { return {wall(), timeline_->now()}; }
  [[nodiscard]] std::optional<nanoseconds> NextWakeUp() const;
  // Looks at the mutations that came since, and commits where nothing is being committed.
  void AfterEvent();
  void Flush();
  // The disk has done what it can with what was being committed.
  void FinishCommit();
  void OnCommitted();
  void Continue();
  void Release(Batch batch);
  void ReleaseOutput(core::Output output);
  void LoadCore();
  void LoadCoreAfter(nanoseconds pause, std::uint64_t incarnation);
  void EnterRecovery();
  void DropEverybody(bool silent);
  void ArmTick();
  void Commit(const std::vector<core::Mutation>& mutations);
  void CheckWelcome(core::SessionId session);
  // What coordinator/rpc does about a job that the core wants.
  void SubmitWanted(core::WantJob want);
  // How much may go on at once, and how devices are trusted: by chance, but the same as long as the history lasts.
  void ChooseOptions();

  Timeline* timeline_;
  Random* random_;
  Network* network_;
  Ledger* ledger_;
  core::CoreOptions options_;
  int next_wanted_ = 1;
  int next_reservation_ = 1;
  std::unique_ptr<core::Core> core_;
  Batch pending_;
  std::size_t decided_ = 0;  // mutations of pending_ that the ledger was told of
  std::optional<Batch> in_flight_;
  nanoseconds in_flight_since_{};
  nanoseconds forgiven_until_{};
  std::map<core::SessionId, Session> sessions_;
  std::map<std::string, core::SessionId> newest_;  // of each device, over or not
  core::SessionId next_session_ = 1;
  bool running_ = false;
  bool disk_full_ = false;
  bool write_fails_ = false;       // what is being committed
  std::uint64_t incarnation_ = 0;  // of the core
  nanoseconds commit_time_ = milliseconds(8);
  nanoseconds wall_offset_{};
  nanoseconds retry_pause_ = milliseconds(250);
  std::optional<nanoseconds> armed_;
  nanoseconds stopped_since_{};
  nanoseconds stopped_until_{};
  bool commit_waits_ = false;                     // it was done while the process was stopped
  std::vector<ConnectionPointer> ended_unheard_;  // likewise
};

}  // namespace ballast::simulation
