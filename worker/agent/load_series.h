// The loads of a run: each in a runner of its own, one after the other.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "worker/agent/load_plan.h"
#include "worker/agent/model_preparation.h"
#include "worker/agent/runner_series.h"

namespace ballast::agent {

// Loads models as planned, and keeps what came of each. Not thread-safe.
class LoadSeries final : public RunnerSeries {
 public:
  // All outlive the series; the spec has its defaults and a model. `models` may be null only where nothing is planned;
  // `limits` are those of the run's environment, null where it has none.
  LoadSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, const ModelPreparation* models,
             const environment::LimitedGroup* limits, RunRecord* record);

  // Adds loads behind those that are left. `cycle` is that of a soak, 0 elsewhere.
  void Add(const std::vector<PlannedLoad>& loads, std::uint32_t cycle);

  void AddSample() override;
  void Fill(bool draft, v1::RunResult* result) const override;
  void FillProgress(bool soak, v1::RunProgress* progress) const override;

  // How many loads have ended, and what came of the last of them.
  [[nodiscard]] std::uint32_t ended_count() const { return ended_count_; }
  [[nodiscard]] const v1::ModelLoadResult& last() const { return last_; }
  // What came of the loads so far: the first 10,000 of them, which hardly anything but a soak exceeds. A draft is
  // written each second: it has the youngest 1,000, the load that goes on too, and no samples.
  [[nodiscard]] const std::vector<v1::ModelLoadResult>& results() const { return results_; }

 private:
  struct Left {
    PlannedLoad load;
    std::uint32_t cycle = 0;
  };

  [[nodiscard]] bool HasNext() const override { return !left_.empty(); }
  void DropLeft() override { left_.clear(); }
  [[nodiscard]] std::optional<v1::RunnerStart> TakeNext() override;
  void OnReport(const v1::RunnerReport& report) override;
  void OnExit() override;
  [[nodiscard]] std::uint64_t HeldBytes() const override { return result_.peak_resident_bytes(); }
  void Keep(v1::Outcome outcome) override;
  [[nodiscard]] std::chrono::nanoseconds Timeout() const override;
  [[nodiscard]] std::string_view Noun() const override { return "load"; }

  const v1::ModelLoad& load_;
  const ModelPreparation* const models_;

  std::deque<Left> left_;
  std::uint32_t planned_ = 0;
  std::uint32_t ended_count_ = 0;
  v1::ModelLoadResult last_;
  std::vector<v1::ModelLoadResult> results_;
  v1::ModelLoadResult result_;          // of the load that goes on
  int model_ = 0;                       // of the same, its place among the run's models
  std::optional<v1::LoadBegin> begin_;  // of the same, once it is prepared
};

}  // namespace ballast::agent
