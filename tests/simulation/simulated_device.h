// A device: its disk, its power, and a worker of the real spool, session and recovery.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "tests/simulation/ledger.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/simulation/timeline.h"
#include "worker/agent/peer_clock.h"
#include "worker/agent/run_desk.h"
#include "worker/agent/run_taker.h"
#include "worker/agent/session_core.h"
#include "worker/agent/spool.h"
#include "worker/agent/spool_reader.h"

namespace ballast::simulation {

// In the place of what cannot be simulated are a disk (SimulatedDisk), the network, and the runner, which lasts as long
// as chance says. Not thread-safe.
class SimulatedDevice final : public agent::RunTaker {
 public:
  SimulatedDevice(std::size_t index, Timeline* timeline, Random* random, Network* network, Ledger* ledger);
  ~SimulatedDevice() override;

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] SimulatedDisk& disk() { return disk_; }

  // The process ends, and is started again after `pause` by the service manager.
  void CrashWorker(nanoseconds pause);
  // The power goes, and comes back after `pause`; never where there is none.
  void CutPower(std::optional<nanoseconds> pause);
  // The disk is replaced while the power is off.
  void ReplaceDisk(nanoseconds pause);
  void KillRunner();
  // The process gets no processor for this time: it does not read, write or notice.
  void Stall(nanoseconds time);
  void SetClock(nanoseconds by) { wall_offset_ += by; }

  void OnDown(const ConnectionPointer& connection, const v1::CoordinatorMessage& message);
  void OnDownEnd(const ConnectionPointer& connection, const absl::Status& status);
  [[nodiscard]] bool Reads() const { return process_ != nullptr && timeline_->now() >= stalled_until_; }

  // Everything that it has to tell is told.
  [[nodiscard]] bool idle() const;
  [[nodiscard]] bool running() const { return process_ != nullptr; }
  [[nodiscard]] bool has_runner() const;
  [[nodiscard]] bool alive() const { return process_ != nullptr; }
  // What it carries out or has records of; nothing while no process can say.
  [[nodiscard]] std::set<agent::AttemptKey> Held() const;

  void Assign(const v1::Assignment& assignment) override;
  void Cancel(const agent::AttemptKey& key, v1::OutcomeKind outcome, const std::string& reason) override;
  [[nodiscard]] std::optional<agent::AttemptKey> active() const override;

  std::function<base::SystemTime()> coordinator_wall;
  std::function<void(const std::string&)> trace;
  std::function<void()> on_crash_in_write;

 private:
  // A run, from the assignment on.
  struct Execution {
    agent::AttemptKey key;
    v1::Assignment assignment;
    bool started = false;  // the runner is there
    v1::OutcomeKind end = v1::COMPLETED;
    bool asked = false;
    nanoseconds end_time{};
    nanoseconds interval{};
  };
  struct Process;

  void Start();
  void EndProcess(bool silent);
  [[nodiscard]] base::SystemTime wall() const { return base::SystemTime(timeline_->now() + wall_offset_); }
  [[nodiscard]] std::optional<v1::ClockOffset> MeasuredOffset();
  void CheckSurvived();
  void Connect();
  void Pump();
  void PumpSoon(nanoseconds at);
  // Lets the spool write, now or a little later; tries again where the disk does not take it.
  void WriteSoon(nanoseconds delay);
  void Write();
  // The process may have died in a write. Returns whether it lives.
  bool Lives();
  void BeginRun();
  void Sample();
  void EndRun();
  void AskForEnd(v1::OutcomeKind outcome);
  [[nodiscard]] v1::Chunk NextChunk();
  // Calls back, unless the process has ended meanwhile.
  void After(nanoseconds delay, std::function<void()> act);

  const std::size_t index_;
  const std::string id_;
  Timeline* timeline_;
  Random* random_;
  Network* network_;
  Ledger* ledger_;
  SimulatedDisk disk_;
  std::uint64_t boot_ = 1;
  std::uint64_t life_ = 0;  // of the process
  nanoseconds wall_offset_{};
  nanoseconds stalled_until_{};
  std::uint64_t segment_bytes_ = 0;
  std::uint64_t quota_bytes_ = 0;
  std::uint64_t last_chunk_ = 0;
  std::string chunk_padding_;
  std::unique_ptr<Process> process_;
};

}  // namespace ballast::simulation
