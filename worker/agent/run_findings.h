// What a run finds out about its device while it goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/metrics/metric_table.h"

namespace ballast::agent {

// Collects phases, steps, peaks and the quality of holds from the runner's reports and the agent's samples. Bounded:
// keeps the first 20,000 phases and steps each (the events in the chunks have all of them). Not thread-safe.
class RunFindings {
 public:
  // Every report of the runner, in order.
  void AddReport(const v1::RunnerReport& report);
  // Every sample, in order. `stall_percent` is the kernel's average of the stall that the runner holds; absent where it
  // holds none.
  void AddSample(std::chrono::nanoseconds offset, const metrics::SampleRow& row,
                 std::optional<double> stall_percent = std::nullopt);

  // The load of a model that goes on has ended, and its last phase with it.
  void EndLoadPhase(std::chrono::nanoseconds offset);
  // The cycle of a soak to which phases belong from now on.
  void SetCycle(std::uint32_t cycle) { cycle_ = cycle; }

  // What is known now, for a draft or, after the last report, for good. Fills everything but the outcome, the limit and
  // the observer's cost.
  void Fill(v1::RunResult* result) const;

  // Of the load where one goes on, else of the pressure.
  [[nodiscard]] v1::Phase::Kind current_phase() const { return current_phase_; }
  [[nodiscard]] v1::Phase::Kind pressure_phase() const { return pressure_phase_kind_; }
  [[nodiscard]] std::uint64_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] double target_percent() const { return target_percent_; }
  // The stall that the runner steers for; absent where it does not.
  [[nodiscard]] const std::optional<v1::PsiTarget>& target_psi() const { return target_psi_; }
  // The plan as the runner tells it.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> planned() const { return planned_; }
  [[nodiscard]] const std::optional<v1::RunnerFinished>& finished() const { return finished_; }
  [[nodiscard]] std::uint64_t sample_count() const { return sample_count_; }

 private:
  // What a sample says about a hold.
  struct HoldSample {
    std::chrono::nanoseconds offset{0};
    double used_percent = 0;
    double limit_bytes = 0;  // 0 where it is not known
    std::uint64_t held_bytes = 0;
    std::optional<double> stall_percent;
  };

  void AddPhase(const v1::Phase& phase);
  // Ends the phase at this place, if it has not ended.
  void EndPhase(int place, const google::protobuf::Duration& offset);
  void AddState(const v1::RunnerState& state);
  // For a runner that did not live to sum it up.
  [[nodiscard]] double EstimateFillRate() const;
  void Judge(const HoldSample& sample, v1::RunResult* result) const;
  static void JudgeStall(const HoldSample& sample, v1::Phase* phase);

  v1::RunResult result_;  // phases, steps and peaks as they come
  // Samples whose phase is not sure yet: the runner's word of a new phase comes a little after the phase.
  std::deque<HoldSample> unjudged_;
  // Places in result_.phases of the phases that go on, of the pressure and of a load beside it; -1 for none.
  int pressure_phase_ = -1;
  int load_phase_ = -1;
  v1::Phase::Kind pressure_phase_kind_ = v1::Phase::KIND_UNSPECIFIED;
  v1::Phase::Kind current_phase_ = v1::Phase::KIND_UNSPECIFIED;
  std::uint32_t cycle_ = 0;
  // From the first load on, memory in use is no longer what the pressure steers.
  std::optional<std::chrono::nanoseconds> first_load_;
  std::uint64_t held_bytes_ = 0;
  std::uint64_t sampled_peak_bytes_ = 0;
  std::chrono::nanoseconds peak_offset_{0};
  double target_percent_ = 0;
  std::optional<v1::PsiTarget> target_psi_;
  std::optional<std::chrono::nanoseconds> planned_;
  std::optional<v1::RunnerFinished> finished_;
  std::optional<std::chrono::nanoseconds> first_ramp_;
  std::uint64_t sample_count_ = 0;
};

}  // namespace ballast::agent
