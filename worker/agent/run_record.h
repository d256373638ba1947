// What a run writes down while it goes on: samples and events in chunks, drafts, progress.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/fd.h"
#include "common/metrics/chunk_codec.h"
#include "common/os/memory_gauge.h"
#include "worker/agent/device_conditions.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_findings.h"
#include "worker/agent/run_validity.h"
#include "worker/agent/sample_history.h"
#include "worker/agent/stall_watch.h"
#include "worker/telemetry/sampler.h"

namespace ballast::agent {

// Samples the device on a grid, keeps what the runners tell, and hands all of it to the spool: a chunk every few
// seconds, a draft of the rest each second. Not thread-safe.
class RunRecord {
 public:
  // Opens all that is read. `place` is where the runner of the pressure will stand. `options`, `spec` (with its
  // defaults) and `spool` outlive the record. The attempt starts now.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<RunRecord>> Open(const RunExecutorOptions& options,
                                                                       AttemptKey key, const v1::JobSpec& spec,
                                                                       const os::CgroupLocation& place, Spool* spool);

  // CLOCK_MONOTONIC at the start of the attempt, and the time since then.
  [[nodiscard]] std::chrono::nanoseconds start() const { return start_; }
  [[nodiscard]] std::chrono::nanoseconds Elapsed() const { return options_.clock->Monotonic() - start_; }

  // Begins to sample. Repeatable. Codes of ErrnoStatus.
  [[nodiscard]] absl::Status StartTimer();
  // Readable when a sample is due: for poll().
  [[nodiscard]] int timer_fd() const { return timer_.get(); }
  // Takes the sample that is due, if one is; true then.
  bool TakeDueSamples();
  // Takes one now.
  void TakeSample() { TakeSample(Elapsed()); }
  // The youngest sample.
  [[nodiscard]] const metrics::SampleRow& row() const { return row_; }
  [[nodiscard]] const SampleHistory& history() const { return history_; }

  // Whose figures the samples hold, from now on: the runner of the pressure, and the processes that load a model (0 and
  // none for nobody).
  void WatchPressure(pid_t runner);
  void WatchLoad(const std::vector<pid_t>& processes) { sampler_->WatchLoad(processes); }
  // And the cgroup that these have for themselves; null where there is none.
  void WatchLoadCgroup(const os::CgroupLocation* cgroup) { sampler_->WatchLoadCgroup(cgroup); }
  // Whether samples hold what the runner of the pressure says of itself; not after its end.
  void SetPressureSpeaks(bool speaks) { pressure_speaks_ = speaks; }

  void AddReport(const v1::RunnerReport& report);
  void AddEvent(const v1::Event& event);
  // A phase of the agent's own making, or of a load; with an event.
  void BeginPhase(v1::Phase phase);
  // Ends the phase of a load that goes on.
  void EndLoadPhase();

  [[nodiscard]] RunFindings& findings() { return findings_; }
  [[nodiscard]] RunValidity& validity() { return validity_; }
  // From now on circumstances count.
  void BeginValidity() { validity_.Begin(row_, conditions_.Read()); }

  // What else belongs into a draft, and into the progress.
  using DraftFiller = std::function<void(v1::RunResult*)>;
  using ProgressFiller = std::function<void(v1::RunProgress*)>;
  void SetFillers(DraftFiller draft, ProgressFiller progress);

  // The next time at which something is due, and doing it.
  [[nodiscard]] std::chrono::nanoseconds deadline() const;
  void FollowDeadlines(RunObserver* observer);

  // Does once what the run will do, so that what it needs is in memory before the load is.
  void Rehearse();

  // Closes the last chunk and fills in what the record knows, validity last. `judged`: a load was carried out.
  void Finish(bool judged, v1::RunResult* result);

 private:
  RunRecord(const RunExecutorOptions& options, AttemptKey key, const v1::JobSpec& spec, Spool* spool);

  void TakeSample(std::chrono::nanoseconds planned_offset);
  void CloseChunk();
  void SaveDraft();
  void TellProgress(RunObserver* observer);

  const RunExecutorOptions& options_;
  const AttemptKey key_;
  Spool* const spool_;
  const std::chrono::nanoseconds sample_interval_;
  const std::chrono::nanoseconds start_;

  std::unique_ptr<telemetry::Sampler> sampler_;
  std::unique_ptr<os::MemoryGauge> gauge_;
  base::Fd timer_;
  const bool holds_shmem_;
  const bool holds_file_cache_;
  pid_t pressure_pid_ = 0;
  bool pressure_speaks_ = false;

  RunFindings findings_;
  StallWatch stall_watch_;
  SampleHistory history_;
  metrics::SampleRow row_;
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
  DraftFiller fill_draft_;
  ProgressFiller fill_progress_;
};

}  // namespace ballast::agent
