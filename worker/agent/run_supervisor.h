// One run at a time: takes assignments, carries them out, and can end them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "ballast/v1/worker_service.pb.h"
#include "worker/agent/attempt_key.h"
#include "worker/agent/run_control.h"
#include "worker/agent/run_desk.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_taker.h"
#include "worker/agent/spool.h"

namespace ballast::agent {

// What the supervisor has to say to the coordinator and the spool does not carry. Called from the supervisor's thread
// or the caller's of Assign; must not block.
class SupervisorListener : public RunObserver {
 public:
  virtual void OnRejected(const v1::AssignmentRejected& rejected) = 0;
};

// Owns the thread that carries runs out: runners are tied to it, so the supervisor lives as long as the process.
// Thread-safe.
class RunSupervisor final : public RunTaker {
 public:
  // Starts the thread. `spool` outlives the supervisor.
  RunSupervisor(RunExecutorOptions options, Spool* spool);
  // As Stop(), without limit.
  ~RunSupervisor() override;
  RunSupervisor(const RunSupervisor&) = delete;
  RunSupervisor& operator=(const RunSupervisor&) = delete;

  // Who is told of progress and refusals from now on; null for nobody. Returns when a call to the one before is over.
  void SetListener(SupervisorListener* listener);

  void Assign(const v1::Assignment& assignment) override;
  void Cancel(const AttemptKey& key, v1::OutcomeKind outcome, const std::string& reason) override;
  [[nodiscard]] std::optional<AttemptKey> active() const override;

  // Ends what is going on (WORKER_CRASHED, `reason`: nobody wanted the run to end, so it may be tried again), takes
  // nothing more, and waits until no runner is left and its end is in the spool's hands. False when that is not so
  // within `timeout`.
  bool Stop(const std::string& reason, std::chrono::milliseconds timeout);

 private:
  // Hands calls on to the listener that is set now.
  class Relay final : public SupervisorListener {
   public:
    void Set(SupervisorListener* listener);
    void OnProgress(const v1::RunProgress& progress) override;
    void OnRejected(const v1::AssignmentRejected& rejected) override;

   private:
    std::mutex mutex_;
    SupervisorListener* listener_ = nullptr;
  };

  void Loop();
  void Refuse(const v1::Assignment& assignment, const std::string& reason);

  RunExecutor executor_;
  Spool* const spool_;
  Relay relay_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  RunDesk desk_;
  std::optional<v1::Assignment> assignment_;  // going on or about to begin
  std::shared_ptr<RunControl> control_;       // of it
  bool stopping_ = false;
  bool stopped_ = false;

  std::jthread thread_;
};

}  // namespace ballast::agent
