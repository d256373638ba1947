// The loads of a run: each in a runner of its own, one after the other.
#pragma once

#include <poll.h>

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "worker/agent/load_plan.h"
#include "worker/agent/model_preparation.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_record.h"
#include "worker/agent/watched_runner.h"
#include "worker/environment/run_environment.h"

namespace ballast::agent {

// Starts load after load, watches each until it has ended, and keeps what came of it. A load that fails does not keep
// the next from its turn. Not thread-safe.
class LoadSeries {
 public:
  // All outlive the series; the spec has its defaults and a model. `models` may be null only where nothing is planned.
  LoadSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, const ModelPreparation* models,
             RunRecord* record);

  // Adds loads behind those that are left. `cycle` is that of a soak, 0 elsewhere.
  void Add(const std::vector<PlannedLoad>& loads, std::uint32_t cycle);

  // Does what is due: starts the next load where none goes on, hears the one that does, concludes it. Does not block.
  // `pressure` is what is held beside the loads: its guard rests while a load is guarded.
  void Follow(WatchedRunner* pressure);
  // When Follow is due by time alone.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> deadline() const;
  // Descriptors that become readable when there is something to follow: for poll().
  [[nodiscard]] std::array<pollfd, 3> Polled() const;

  // Ends the load that goes on, and drops those that are left.
  void RequestEnd(const AskedEnd& asked);

  // Nothing goes on.
  [[nodiscard]] bool idle() const { return !runner_; }
  // Nothing goes on, and nothing is left.
  [[nodiscard]] bool over() const { return !runner_ && left_.empty(); }
  // The load that goes on; 0 for none.
  [[nodiscard]] std::uint32_t current() const { return runner_ ? result_.index() : 0; }
  [[nodiscard]] const std::string& quant() const { return result_.quant(); }
  [[nodiscard]] std::uint32_t planned() const { return planned_; }

  // The youngest sample of the record, for the load that goes on.
  void AddSample();

  // How many loads have ended, and what came of the last of them.
  [[nodiscard]] std::uint32_t ended_count() const { return ended_count_; }
  [[nodiscard]] const v1::ModelLoadResult& last() const { return last_; }
  // What came of the loads so far: the first 10,000 of them, which hardly anything but a soak exceeds. A draft is
  // written each second: it has the youngest 1,000, the load that goes on too, and no samples.
  [[nodiscard]] const std::vector<v1::ModelLoadResult>& results() const { return results_; }
  void Fill(bool draft, v1::RunResult* result) const;

 private:
  struct Left {
    PlannedLoad load;
    std::uint32_t cycle = 0;
  };

  // Starts the next load, if it can be.
  void Begin(WatchedRunner* pressure);
  [[nodiscard]] absl::Status StartRunner(const ReadyModel& model);
  void AddReport(const v1::RunnerReport& report);
  void Conclude(WatchedRunner* pressure);
  // The load has ended with this outcome.
  void Keep(v1::Outcome outcome);

  const RunExecutorOptions& options_;
  const v1::JobSpec& spec_;
  const v1::ModelLoad& load_;
  const ModelPreparation* const models_;
  RunRecord* const record_;

  std::deque<Left> left_;
  std::uint32_t planned_ = 0;
  std::uint32_t ended_count_ = 0;
  v1::ModelLoadResult last_;
  std::vector<v1::ModelLoadResult> results_;
  int kept_evidence_ = 0;
  std::vector<v1::GuardAct> guard_acts_;

  // Of the load that goes on.
  v1::ModelLoadResult result_;
  std::optional<environment::RunEnvironment> environment_;  // outlives the runner
  std::unique_ptr<WatchedRunner> runner_;
  std::optional<std::chrono::nanoseconds> timeout_at_;
};

}  // namespace ballast::agent
