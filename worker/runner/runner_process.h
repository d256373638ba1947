// The agent's handle of one runner child.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/child_process.h"
#include "common/base/fd.h"
#include "worker/runner/control_channel.h"

namespace ballast::runner {

// The oom_score_adj of a process that the kernel ends before all others.
inline constexpr int kFirstToGo = 1000;

// Owns a runner: a child process that holds the pressure, loads a model or becomes another program, with its own
// process group, a high oom_score_adj, and a parent-death signal, so that it is the first to go when memory runs out
// and never outlives its agent. Destruction kills the whole group and reaps it. Move-only. Not thread-safe, except that
// RequestStop, RequestShrink and Kill may be called from any thread until the end was seen by TryWait or Wait.
class RunnerProcess {
 public:
  // Starts `program --runner` (the worker's own file) and sends it `start`. Call from a thread that lives as long as
  // the process: the parent-death signal is tied to it. The runner enters the cgroups of `cgroups` before anything
  // else; `passed_fds` are what it gets beside its control channel. Codes of ChildProcess::Start.
  [[nodiscard]] static absl::StatusOr<RunnerProcess> Start(const std::string& program, const v1::RunnerStart& start,
                                                           std::vector<std::string> cgroups = {},
                                                           int oom_score_adj = kFirstToGo,
                                                           std::vector<base::ChildOptions::PassedFd> passed_fds = {});

  RunnerProcess(RunnerProcess&&) noexcept = default;
  RunnerProcess& operator=(RunnerProcess&&) noexcept = default;

  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  // Readable when reports wait, or when the runner has closed its end: for poll().
  [[nodiscard]] int report_fd() const { return channel_.get(); }
  // Readable when the runner has ended: for poll().
  [[nodiscard]] int pid_fd() const { return child_.pid_fd(); }

  // Appends the reports that have arrived, without blocking. OUT_OF_RANGE once the runner has closed its end and
  // everything was read; DATA_LOSS when what arrives is not a report.
  [[nodiscard]] absl::Status ReadReports(std::vector<v1::RunnerReport>* reports);

  // Asks the runner to release everything and end; a program that it has become by SIGTERM to its process group. Does
  // not block. OK also where the runner has already ended.
  [[nodiscard]] absl::Status RequestStop();
  // Asks the runner to give memory back at once, and to allocate nothing for `pause` after that. Does not block. OK
  // also where the runner has already ended.
  [[nodiscard]] absl::Status RequestShrink(std::uint64_t bytes, std::chrono::nanoseconds pause);
  // Ends a hold that lasts until told. Does not block. OK also where the runner has already ended.
  [[nodiscard]] absl::Status RequestEndHold();
  // Gives another target to a burst, in percent of the limit. Does not block. OK also where the runner has already
  // ended.
  [[nodiscard]] absl::Status RequestTarget(double target_percent);
  // SIGKILL to the whole group.
  void Kill();
  // Reaps the runner if it has ended.
  [[nodiscard]] std::optional<base::ExitStatus> TryWait() { return child_.TryWait(); }
  [[nodiscard]] std::optional<base::ExitStatus> Wait(std::chrono::milliseconds timeout) { return child_.Wait(timeout); }
  // What it took until its end, and the children that it waited for; nothing before its end was seen.
  [[nodiscard]] const std::optional<rusage>& usage() const { return child_.usage(); }

 private:
  RunnerProcess() = default;

  [[nodiscard]] absl::Status Tell(const v1::RunnerCommand& command) const;

  base::ChildProcess child_;
  base::Fd channel_;
  FrameDecoder decoder_;
  bool becomes_program_ = false;
};

// The whole life of the child, on the control channel it was given (descriptor 3): reads RunnerStart, carries the
// task out, reports, ends; or becomes another program. Returns the program's exit code: 0 when the end was reported,
// whatever the outcome; 1 when the agent is gone; 2 when descriptor 3 is no such channel. Called by the worker's main
// for `--runner`, before it starts threads or changes signals.
[[nodiscard]] int RunnerMain();

}  // namespace ballast::runner
