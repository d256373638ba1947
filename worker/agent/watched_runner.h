// One runner from its start to its end: its guard, what it reports, and how it ended.
#pragma once

#include <poll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "worker/agent/end_of_run.h"
#include "worker/agent/kernel_log.h"
#include "worker/agent/run_executor.h"
#include "worker/agent/run_guard.h"
#include "worker/agent/sample_history.h"
#include "worker/environment/run_environment.h"
#include "worker/runner/runner_process.h"

namespace ballast::agent {

// What a runner is for.
enum class RunnerRole {
  kPressure,            // it is the load
  kPressureBesideLoad,  // it is there before what is tested, and is to die after it
  kLoad,                // it loads a model
  kProgram,             // it becomes the program under test
};

// Owns a runner child, and watches it from outside until it is gone. Destruction kills a runner that is left. Not
// thread-safe.
class WatchedRunner {
 public:
  // Opens all that is read while it runs, before it is started. `options` and `environment` outlive this; `spec` has
  // its defaults; offsets count from `attempt_start`. Codes of RunGuard::Prepare.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<WatchedRunner>> Prepare(const RunExecutorOptions& options,
                                                                              const v1::JobSpec& spec,
                                                                              std::chrono::nanoseconds attempt_start,
                                                                              RunnerRole role,
                                                                              environment::RunEnvironment* environment);

  // Starts the runner, with `passed_fds` beside its control channel, and the guard. Codes of RunnerProcess::Start.
  [[nodiscard]] absl::Status Start(const v1::RunnerStart& start,
                                   std::vector<base::ChildOptions::PassedFd> passed_fds = {});

  // Descriptors that become readable when there is something to follow: for poll().
  [[nodiscard]] std::array<pollfd, 4> Polled() const;

  // What has come up since the last time.
  struct News {
    std::vector<v1::RunnerReport> reports;
    std::vector<v1::Event> guard_events;
  };
  // Does what is due: hears the runner and the guard, kills what does not end in time, reaps. Does not block.
  void Follow(std::chrono::nanoseconds now, News* news);
  // When Follow is due by time alone.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> deadline() const { return kill_at_; }

  // Asks the runner to release everything and end; it is killed where it does not in time. The first wish counts.
  void RequestEnd(AskedEnd asked, std::chrono::nanoseconds now);
  // Ends a hold that lasts until told.
  void EndHold();

  // Gives another target to a burst.
  void Retarget(double target_percent);

  // The guard watches only one runner at a time.
  void SuspendGuard();
  void ResumeGuard();

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool ended() const { return exit_.has_value(); }
  // What it took; nothing before its end was seen.
  [[nodiscard]] std::optional<rusage> usage() const { return runner_ ? runner_->usage() : std::nullopt; }
  [[nodiscard]] const std::optional<v1::RunnerFinished>& finished() const { return finished_; }
  // Whether its end was asked for, by anyone.
  [[nodiscard]] bool asked() const { return asked_.has_value(); }

  // How it ended, with evidence. `held_bytes` is what it held last; `history` has the samples of the last seconds.
  // Once, when it has ended.
  [[nodiscard]] v1::Outcome Conclude(std::uint64_t held_bytes, const SampleHistory& history);

  // Adds what the guard did so far; and to the message of a completed run, that the guard made it smaller.
  void FillGuardActs(v1::RunResult* result) const { guard_->Fill(result); }

 private:
  WatchedRunner(const RunExecutorOptions& options, const v1::JobSpec& spec, std::chrono::nanoseconds attempt_start,
                RunnerRole role, environment::RunEnvironment* environment);

  void ReadReports(std::chrono::nanoseconds now, News* news);
  void FollowGuard(News* news);

  const RunExecutorOptions& options_;
  const v1::JobSpec& spec_;
  const std::chrono::nanoseconds attempt_start_;
  const RunnerRole role_;
  environment::RunEnvironment* const environment_;
  std::optional<KernelLog> kernel_log_;

  std::optional<runner::RunnerProcess> runner_;
  pid_t pid_ = 0;
  std::unique_ptr<RunGuard> guard_;  // goes before the runner it watches
  bool reports_ended_ = false;
  bool program_began_ = false;
  std::optional<v1::RunnerFinished> finished_;
  std::optional<base::ExitStatus> exit_;
  std::optional<AskedEnd> asked_;
  std::optional<std::chrono::nanoseconds> kill_at_;  // a runner that was asked to end is killed then
  bool killed_by_agent_ = false;
};

}  // namespace ballast::agent
