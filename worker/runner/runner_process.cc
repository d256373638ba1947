#include "worker/runner/runner_process.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <utility>

#include "common/base/status.h"
#include "google/protobuf/arena.h"

namespace ballast::runner {
namespace {

constexpr int kControlFd = 3;

// A command without memory of its own: it may have to be said when there is none.
class ShortCommand {
 public:
  v1::RunnerCommand* operator->() { return command_; }
  const v1::RunnerCommand& operator*() const { return *command_; }

 private:
  alignas(std::max_align_t) std::array<char, 1024> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
  v1::RunnerCommand* command_ = google::protobuf::Arena::CreateMessage<v1::RunnerCommand>(&arena_);
};

}  // namespace

absl::StatusOr<RunnerProcess> RunnerProcess::Start(const std::string& program, const v1::RunnerStart& start,
                                                   std::vector<std::string> cgroups, int oom_score_adj,
                                                   std::vector<base::ChildOptions::PassedFd> passed_fds) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return base::ErrnoStatus(errno, "make the runner's control channel");
  }
  RunnerProcess runner;
  runner.channel_.Reset(ends[0]);
  const base::Fd child_end(ends[1]);
  base::ChildOptions options;
  options.argv = {program, "--runner"};
  options.passed_fds = std::move(passed_fds);
  options.passed_fds.push_back({.from = child_end.get(), .to = kControlFd});
  runner.becomes_program_ = start.has_command();
  options.own_process_group = true;
  options.parent_death_signal = SIGKILL;
  options.oom_score_adj = oom_score_adj;
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
  if (becomes_program_) {
    child_.Signal(SIGTERM);
    return absl::OkStatus();
  }
  ShortCommand command;
  command->mutable_stop();
  return Tell(*command);
}

absl::Status RunnerProcess::RequestShrink(std::uint64_t bytes, std::chrono::nanoseconds pause) {
  ShortCommand command;
  command->mutable_shrink()->set_bytes(bytes);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(pause);
  command->mutable_shrink()->mutable_pause()->set_seconds(seconds.count());
  command->mutable_shrink()->mutable_pause()->set_nanos(static_cast<std::int32_t>((pause - seconds).count()));
  return Tell(*command);
}

absl::Status RunnerProcess::RequestEndHold() {
  ShortCommand command;
  command->mutable_end_hold();
  return Tell(*command);
}

absl::Status RunnerProcess::RequestTarget(double target_percent) {
  ShortCommand command;
  command->mutable_retarget()->set_target_percent(target_percent);
  return Tell(*command);
}

absl::Status RunnerProcess::Tell(const v1::RunnerCommand& command) const {
  const absl::Status sent = SendAtOnce(channel_.get(), command);
  // A runner that has closed its end is past being asked.
  return absl::IsUnavailable(sent) ? absl::OkStatus() : sent;
}

void RunnerProcess::Kill() {
  child_.Signal(SIGKILL);
}

}  // namespace ballast::runner
