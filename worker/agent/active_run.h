// One run while it goes on: its runners, its telemetry, its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "worker/agent/command_series.h"
#include "worker/agent/load_series.h"
#include "worker/agent/model_preparation.h"
#include "worker/agent/observer_meter.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_record.h"
#include "worker/agent/soak.h"
#include "worker/agent/watched_runner.h"
#include "worker/environment/limited_group.h"
#include "worker/environment/run_environment.h"

namespace ballast::agent {

// Starts runners, watches them from outside until they are gone, and says how the run ended; docs/model-runs.md
// and docs/commands.md say what runs are made of in which more than the pressure runs. One object a run; not
// thread-safe. Destruction kills runners that are left.
class ActiveRun {
 public:
  // Opens all that the run will read, before anything is started. `options` and `spool` outlive the run; the
  // assignment's spec has its defaults. `limits` are those of its environment, where it has one.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ActiveRun>> Prepare(
      const RunExecutorOptions& options, v1::Assignment assignment, std::optional<environment::LimitedGroup> limits,
      Spool* spool);

  // Carries the run out, on an attempt that has begun in the spool. Blocks until the runners are gone.
  [[nodiscard]] v1::RunResult CarryOut(RunControl* control, RunObserver* observer);

 private:
  ActiveRun(const RunExecutorOptions& options, v1::Assignment assignment,
            std::optional<environment::LimitedGroup> limits);

  [[nodiscard]] const v1::JobSpec& spec() const { return assignment_.spec(); }
  [[nodiscard]] std::chrono::nanoseconds Planned() const;

  // Waits for a quiet device, as long as the job says. Samples are taken; a wish to end the run ends it.
  void Settle();
  // Makes ready what runs beside the pressure: brings the run's models onto the device, finds its program. The same.
  absl::Status PrepareBeside();
  absl::Status PrepareModels();
  // One pressure from its baseline to its recovery, with what runs beside it in its hold. What came of the pressure; an
  // error where it could not be started.
  absl::StatusOr<v1::Outcome> CarryOutCycle();
  v1::Outcome CarryOutSoak();
  absl::Status StartPressure();
  [[nodiscard]] v1::RunnerStart PressureStart() const;

  // Waits until something is to be done, and does what is due whatever goes on: samples, wishes, deadlines. `more` is
  // polled too.
  void Turn(std::vector<pollfd> more, std::optional<std::chrono::nanoseconds> until = std::nullopt);
  void FollowPressure();
  // When the run takes too long; nothing once its end is on its way.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> Timeout() const;
  void AskForEnd(AskedEnd asked);

  void FillProgress(v1::RunProgress* progress) const;
  void FillSoFar(v1::RunResult* result) const;
  // What the pressure's runner, which has ended, came to.
  [[nodiscard]] v1::Outcome ConcludePressure();
  // Where no runner was started: there is nothing to tell the end from.
  [[nodiscard]] v1::Outcome WithoutRunner(v1::OutcomeKind kind, std::string message) const;
  [[nodiscard]] v1::RunResult Conclude(v1::Outcome outcome, bool judged);

  const RunExecutorOptions& options_;
  const v1::Assignment assignment_;
  const AttemptKey key_;

  [[nodiscard]] const environment::LimitedGroup* limits() const { return limits_ ? &*limits_ : nullptr; }

  std::optional<environment::LimitedGroup> limits_;         // outlives all groups of runners
  std::optional<environment::RunEnvironment> environment_;  // of the pressure; outlives its runner
  std::unique_ptr<RunRecord> record_;
  std::unique_ptr<ModelPreparation> models_;
  std::unique_ptr<LoadSeries> loads_;        // where the workload has a model
  std::unique_ptr<CommandSeries> commands_;  // where it has a program
  RunnerSeries* beside_ = nullptr;           // whichever there is
  std::unique_ptr<WatchedRunner> pressure_;
  std::vector<v1::GuardAct> guard_acts_;  // of runners that have ended
  std::unique_ptr<Soak> soak_;            // where the workload is one
  bool holding_ = false;                  // the pressure has reached its hold
  bool hold_ended_ = false;               // and was told that it is over
  bool preparing_ = false;

  RunControl* control_ = nullptr;
  RunObserver* observer_ = nullptr;
  std::optional<AskedEnd> asked_;
  ObserverMeter observer_meter_;
};

}  // namespace ballast::agent
