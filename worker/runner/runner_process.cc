#include "worker/runner/runner_process.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace ballast::runner {
namespace {

constexpr int kControlFd = 3;

// The first to go when memory runs out.
constexpr int kRunnerOomScoreAdj = 1000;

}  // namespace

absl::StatusOr<RunnerProcess> RunnerProcess::Start(const std::string& program, const v1::RunnerStart& start,
                                                   std::vector<std::string> cgroups) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return base::ErrnoStatus(errno, "make the runner's control channel");
  }
  RunnerProcess runner;
  runner.channel_.Reset(ends[0]);
  const base::Fd child_end(ends[1]);
  base::ChildOptions options;
  options.argv = {program, "--runner"};
  options.passed_fds = {{.from = child_end.get(), .to = kControlFd}};
  options.own_process_group = true;
  options.parent_death_signal = SIGKILL;
  options.oom_score_adj = kRunnerOomScoreAdj;
  options.cgroups = std::move(cgroups);
  BALLAST_ASSIGN_OR_RETURN(runner.child_, base::ChildProcess::Start(options));
  v1::RunnerCommand command;
  *command.mutable_start() = start;
  BALLAST_RETURN_IF_ERROR(FrameSender(runner.channel_.get()).Send(command));
  return runner;
}

absl::Status RunnerProcess::ReadReports(std::vector<v1::RunnerReport>* reports) {
  // What arrived before the end still counts, so the end is told last.
  const absl::Status received = ReceiveAvailable(channel_.get(), &decoder_);
  while (true) {
    v1::RunnerReport report;
    BALLAST_ASSIGN_OR_RETURN(const bool complete, decoder_.Next(&report));
    if (!complete) return received;
    reports->push_back(std::move(report));
  }
}

absl::Status RunnerProcess::RequestStop() {
  v1::RunnerCommand command;
  command.mutable_stop();
  // A runner that has closed its end is past stopping.
  const absl::Status sent = FrameSender(channel_.get()).SendOrDrop(command);
  return absl::IsUnavailable(sent) ? absl::OkStatus() : sent;
}

absl::Status RunnerProcess::RequestShrink(std::uint64_t bytes, std::chrono::nanoseconds pause) {
  v1::RunnerCommand command;
  command.mutable_shrink()->set_bytes(bytes);
  *command.mutable_shrink()->mutable_pause() = base::ToProto(pause);
  const absl::Status sent = FrameSender(channel_.get()).SendOrDrop(command);
  return absl::IsUnavailable(sent) ? absl::OkStatus() : sent;
}

void RunnerProcess::Kill() {
  child_.Signal(SIGKILL);
}

}  // namespace ballast::runner
