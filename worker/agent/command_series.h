// The executions of the program under test in a run: each in a runner of its own, one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/agent/program_meter.h"
#include "worker/agent/program_output.h"
#include "worker/agent/runner_series.h"

namespace ballast::agent {

// Executes the program as often as the workload says, measures it from outside, and keeps what came of each execution.
// Not thread-safe.
class CommandSeries final : public RunnerSeries {
 public:
  // All outlive the series; the spec has its defaults and a command, which is `task` on this device.
  // `limits` are those of the run's environment, null where it has none.
  CommandSeries(const RunExecutorOptions& options, const v1::JobSpec& spec, v1::CommandTask task,
                const environment::LimitedGroup* limits, RunRecord* record);

  void AddSample() override;
  void Fill(bool draft, v1::RunResult* result) const override;
  void FillProgress(bool soak, v1::RunProgress* progress) const override;

  [[nodiscard]] const std::vector<v1::CommandResult>& results() const { return results_; }

 private:
  [[nodiscard]] bool HasNext() const override { return left_ > 0; }
  void DropLeft() override { left_ = 0; }
  [[nodiscard]] std::optional<v1::RunnerStart> TakeNext() override;
  [[nodiscard]] std::vector<base::ChildOptions::PassedFd> PassedFds() override;
  void OnStarted() override;
  void OnReport(const v1::RunnerReport& report) override;
  void OnExit() override;
  [[nodiscard]] std::uint64_t HeldBytes() const override { return meter_ ? meter_->peak_memory_bytes() : 0; }
  void Keep(v1::Outcome outcome) override;
  [[nodiscard]] std::chrono::nanoseconds Timeout() const override;
  [[nodiscard]] std::string_view Noun() const override { return "execution"; }

  // Of what was written until now.
  void FillOutput(std::size_t most_tail_bytes, v1::CommandResult* result) const;

  const v1::CommandWorkload& command_;
  const v1::CommandTask task_;
  std::uint32_t left_;
  std::vector<v1::CommandResult> results_;
  std::size_t tail_bytes_left_;  // for the tails of all executions together

  // Of the execution that goes on.
  v1::CommandResult result_;
  base::Fd nothing_;  // its standard input
  std::unique_ptr<ProgramOutput> output_;
  std::unique_ptr<ProgramMeter> meter_;
  std::vector<pid_t> watched_;  // whose figures the samples hold
};

// From the ends of executions to the end of their run. `outcome` is that of the pressure; where that was carried out to
// its end, the run has the outcome of its first execution that was not COMPLETED. The message counts them in any case.
// Pure.
void JudgeCommands(const std::vector<v1::CommandResult>& commands, v1::Outcome* outcome);

}  // namespace ballast::agent
