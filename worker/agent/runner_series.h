// Runners beside the pressure, one after the other: what the loads of models and the program under test have in common.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_record.h"
#include "worker/agent/watched_runner.h"
#include "worker/environment/limited_group.h"
#include "worker/environment/run_environment.h"

namespace ballast::agent {

// Starts runner after runner, watches each until it has ended, and has what came of it kept. One that fails does not
// keep the next from its turn. Not thread-safe.
class RunnerSeries {
 public:
  virtual ~RunnerSeries() = default;
  RunnerSeries(const RunnerSeries&) = delete;
  RunnerSeries& operator=(const RunnerSeries&) = delete;

  // Does what is due: starts the next runner where none goes on, hears the one that does, concludes it. Does not block.
  // `pressure` is what is held beside it: its guard rests while a runner of the series is guarded.
  void Follow(WatchedRunner* pressure);
  // When Follow is due by time alone.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> deadline() const;
  // Descriptors that become readable when there is something to follow: for poll().
  [[nodiscard]] std::vector<pollfd> Polled() const;

  // Ends the runner that goes on, and drops what is left.
  void RequestEnd(const AskedEnd& asked);

  // Nothing goes on.
  [[nodiscard]] bool idle() const { return !runner_; }
  // Nothing goes on, and nothing is left.
  [[nodiscard]] bool over() const { return !runner_ && !HasNext(); }

  // The youngest sample of the record, for the runner that goes on.
  virtual void AddSample() = 0;

  // What came of the runners so far. A draft has the one that goes on too, and no samples.
  virtual void Fill(bool draft, v1::RunResult* result) const = 0;
  // Which one goes on, and of how many where that is known: in a soak it is not.
  virtual void FillProgress(bool soak, v1::RunProgress* progress) const = 0;

 protected:
  // All outlive the series; the spec has its defaults. `limits` are those of the run's environment, null where it has
  // none.
  RunnerSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, const environment::LimitedGroup* limits,
               RunRecord* record, RunnerRole role)
      : options_(options), spec_(spec), record_(record), limits_(limits), role_(role) {}

  [[nodiscard]] virtual bool HasNext() const = 0;
  virtual void DropLeft() = 0;
  // Takes the next off what is left. Nothing where it has ended before a runner was needed, and was kept.
  [[nodiscard]] virtual std::optional<v1::RunnerStart> TakeNext() = 0;
  // What the runner that is being started gets beside its channel.
  [[nodiscard]] virtual std::vector<base::ChildOptions::PassedFd> PassedFds() { return {}; }
  // It has been started.
  virtual void OnStarted() {}
  virtual void OnReport(const v1::RunnerReport& report) = 0;
  // It has ended, and its cgroup is still there.
  virtual void OnExit() {}
  [[nodiscard]] virtual std::uint64_t HeldBytes() const = 0;
  // What came of it; nothing is left of it any more.
  virtual void Keep(v1::Outcome outcome) = 0;
  // Longest time of one, and what one is called.
  [[nodiscard]] virtual std::chrono::nanoseconds Timeout() const = 0;
  [[nodiscard]] virtual std::string_view Noun() const = 0;

  [[nodiscard]] WatchedRunner* runner() const { return runner_.get(); }
  [[nodiscard]] const environment::RunEnvironment& environment() const { return *environment_; }
  void FillGuardActs(v1::RunResult* result) const;
  // Records the end as an event of the kind, and an OOM kill as one of its own. `what` is the thing that ended, with
  // number `index`. Evidence of many failures would make the result too large for one message: later ones lose the bulk
  // of it.
  void TellEnd(v1::Event::Kind kind, const std::string& what, std::uint32_t index, v1::Outcome* outcome);

  const RunExecutorOptions& options_;
  const v1::JobSpec& spec_;
  RunRecord* const record_;

 private:
  // Starts the next, if it can be.
  void Begin(WatchedRunner* pressure);
  [[nodiscard]] absl::Status StartRunner(const v1::RunnerStart& start);
  void Conclude(WatchedRunner* pressure);

  const environment::LimitedGroup* const limits_;
  const RunnerRole role_;
  std::vector<v1::GuardAct> guard_acts_;
  int kept_evidence_ = 0;

  // Of the one that goes on.
  std::optional<environment::RunEnvironment> environment_;  // outlives the runner
  std::unique_ptr<WatchedRunner> runner_;
  std::optional<std::chrono::nanoseconds> timeout_at_;
};

// Drops the bulk of the evidence: samples and kernel log.
void SlimEvidence(v1::Outcome* outcome);

}  // namespace ballast::agent
