// One run while it goes on: the runner, its telemetry, its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "common/base/fd.h"
#include "common/metrics/chunk_codec.h"
#include "common/os/memory_gauge.h"
#include "worker/agent/device_conditions.h"
#include "worker/agent/kernel_log.h"
#include "worker/agent/observer_meter.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_findings.h"
#include "worker/agent/run_guard.h"
#include "worker/agent/run_validity.h"
#include "worker/agent/sample_history.h"
#include "worker/agent/stall_watch.h"
#include "worker/environment/run_environment.h"
#include "worker/runner/runner_process.h"
#include "worker/telemetry/sampler.h"

namespace ballast::agent {

// Starts a runner, watches it from outside until it is gone, and says how it ended. One object a run; not thread-safe.
// Destruction kills a runner that is left.
class ActiveRun {
 public:
  // Opens all that the run will read, before anything is started. `options` and `spool` outlive the run; the spec has
  // its defaults.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ActiveRun>> Prepare(const RunExecutorOptions& options,
                                                                          AttemptKey key, v1::JobSpec spec,
                                                                          Spool* spool);

  // Carries the run out, on an attempt that has begun in the spool. Blocks until the runner is gone.
  [[nodiscard]] v1::RunResult CarryOut(RunControl* control, RunObserver* observer);

 private:
  ActiveRun(const RunExecutorOptions& options, AttemptKey key, v1::JobSpec spec, Spool* spool);

  // Time since the start of the attempt.
  [[nodiscard]] std::chrono::nanoseconds Elapsed() const;
  [[nodiscard]] std::chrono::nanoseconds Planned() const;

  // Does once what the loop will do, so that what it needs is in memory before the load is.
  void Rehearse();
  // Waits for a quiet device, as long as the job says. Samples are taken; a wish to end the run ends it.
  void Settle();
  absl::Status StartRunner();
  absl::Status StartTimer();
  void Watch();
  // When the run takes too long; nothing once its end is on its way.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> Timeout() const;
  // Milliseconds until the next deadline that no descriptor tells of.
  [[nodiscard]] int PollTimeout() const;
  void FollowDeadlines();
  void AskForEnd(AskedEnd asked);
  void FollowGuard();
  void ReadReports();
  void TakeDueSamples();
  void TakeSample(std::chrono::nanoseconds planned_offset);
  void AddEvent(const v1::Event& event);
  void CloseChunk();
  void SaveDraft();
  void TellProgress();
  [[nodiscard]] v1::RunResult Conclude();
  // Where no runner was started: there is nothing to tell the end from.
  [[nodiscard]] v1::RunResult ConcludeWithoutRunner(v1::OutcomeKind outcome, const std::string& message);

  const RunExecutorOptions& options_;
  const AttemptKey key_;
  const v1::JobSpec spec_;
  Spool* const spool_;
  const std::chrono::nanoseconds sample_interval_;
  const std::chrono::nanoseconds start_;  // on the monotonic clock

  std::optional<environment::RunEnvironment> environment_;  // outlives the runner
  std::unique_ptr<telemetry::Sampler> sampler_;
  std::unique_ptr<os::MemoryGauge> gauge_;
  std::optional<KernelLog> kernel_log_;
  base::Fd timer_;
  RunControl* control_ = nullptr;
  RunObserver* observer_ = nullptr;

  std::optional<runner::RunnerProcess> runner_;
  pid_t runner_pid_ = 0;
  std::unique_ptr<RunGuard> guard_;  // goes before the runner it watches
  bool reports_ended_ = false;
  std::optional<base::ExitStatus> exit_;
  std::optional<AskedEnd> asked_;
  std::optional<std::chrono::nanoseconds> kill_at_;  // a runner that was asked to end is killed then
  bool killed_by_agent_ = false;
  std::vector<v1::RunnerReport> reports_;  // kept for its memory

  RunFindings findings_;
  StallWatch stall_watch_;
  SampleHistory history_;
  metrics::SampleRow row_;  // the youngest sample
  metrics::ChunkBuilder chunk_;
  std::vector<v1::Event> chunk_events_;  // those in `chunk_`, for drafts
  metrics::ChunkBuilder draft_chunk_;
  std::chrono::nanoseconds chunk_start_{0};
  std::chrono::nanoseconds next_draft_{0};
  std::chrono::nanoseconds next_progress_{0};
  std::uint64_t slot_ = 0;  // number of the last sample on the grid
  std::uint64_t missed_samples_ = 0;
  std::uint64_t lost_samples_ = 0;  // taken, but the spool did not take them
  std::string loss_reason_;
  DeviceConditions conditions_;
  RunValidity validity_;
  ObserverMeter observer_meter_;
};

}  // namespace ballast::agent
