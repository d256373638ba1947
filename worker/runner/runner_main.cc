#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/status.h"
#include "worker/pressure/engine_requests.h"
#include "worker/runner/control_channel.h"
#include "worker/runner/program_start.h"
#include "worker/runner/runner_process.h"
#include "worker/runner/termination_watch.h"
#include "worker/runner/workload_execution.h"

namespace ballast::runner {
namespace {

constexpr int kControlFd = 3;
constexpr int kExitDone = 0;
constexpr int kExitAgentGone = 1;
constexpr int kExitUsage = 2;

bool IsSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

// Passes what the engine tells on to the agent. When the agent cannot be reached the workload is stopped: nobody would
// end it.
class ReportingObserver final : public RunnerObserver {
 public:
  ReportingObserver(FrameSender* sender, std::stop_source* stop) : sender_(sender), stop_(stop) {}

  void OnPhase(const v1::Phase& phase) override {
    v1::RunnerReport report;
    *report.mutable_phase() = phase;
    Check(sender_->Send(report));
  }
  void OnEvent(const v1::Event& event) override {
    v1::RunnerReport report;
    *report.mutable_event() = event;
    Check(sender_->Send(report));
  }
  void OnStep(const v1::Step& step) override {
    v1::RunnerReport report;
    *report.mutable_step() = step;
    Check(sender_->Send(report));
  }
  void OnLoadBegin(const v1::LoadBegin& begin) override {
    v1::RunnerReport report;
    *report.mutable_load_begin() = begin;
    Check(sender_->Send(report));
  }
  void OnStage(const v1::LoadStage& stage) override {
    v1::RunnerReport report;
    *report.mutable_load_stage() = stage;
    Check(sender_->Send(report));
  }
  void OnRuntime(pid_t pid) override {
    v1::RunnerReport report;
    report.mutable_state()->set_runtime_pid(pid);
    Check(sender_->Send(report));
  }
  void OnState(const v1::RunnerState& state) override {
    // The next one is under way in a moment: an agent that is slow to read must not hold the memory up.
    v1::RunnerReport report;
    *report.mutable_state() = state;
    Check(sender_->SendOrDrop(report));
  }

 private:
  void Check(const absl::Status& status) {
    if (!status.ok()) stop_->request_stop();
  }

  FrameSender* sender_;
  std::stop_source* stop_;
};

// The first command. Waits for it.
absl::StatusOr<v1::RunnerStart> ReceiveStart(int fd, FrameDecoder* decoder) {
  v1::RunnerCommand command;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool complete, decoder->Next(&command));
    if (complete) break;
    // The end of the stream may come together with the command, so what was received is looked at first.
    const absl::Status received = ReceiveSome(fd, decoder);
    BALLAST_ASSIGN_OR_RETURN(const bool complete_now, decoder->Next(&command));
    if (complete_now) break;
    BALLAST_RETURN_IF_ERROR(received);
  }
  if (!command.has_start()) return absl::DataLossError("the first command of the agent is not a start");
  return command.start();
}

// Hears the agent while the workload is carried out: passes on what it asks for, and stops the workload when it says so
// or is gone. Ends when the channel is shut down.
void Listen(int fd, FrameDecoder decoder, pressure::EngineRequests* requests, std::stop_source* stop) {
  while (true) {
    v1::RunnerCommand command;
    const absl::StatusOr<bool> complete = decoder.Next(&command);
    if (!complete.ok() || (*complete && command.has_stop())) break;
    if (*complete && command.has_shrink()) {
      requests->Post({.bytes = command.shrink().bytes(), .pause = base::FromProto(command.shrink().pause())});
    }
    if (*complete && command.has_end_hold()) requests->EndHold();
    if (*complete && command.has_retarget()) requests->Retarget(command.retarget().target_percent());
    if (!*complete && !ReceiveSome(fd, &decoder).ok()) break;
  }
  stop->request_stop();
}

// Becomes the program, and does not return; where that cannot be, how it ended.
v1::RunnerFinished TryToBecome(const v1::RunnerStart& start, TerminationWatch* termination, FrameSender* sender) {
  const auto finish = [&start](v1::OutcomeKind outcome, std::string message) {
    v1::RunnerFinished finished;
    finished.set_outcome(outcome);
    finished.set_message(std::move(message));
    *finished.mutable_offset() =
        base::ToProto(base::RealClock().Monotonic() - std::chrono::nanoseconds(start.start_monotonic_ns()));
    return finished;
  };
  // Its thread ends with this: what follows changes the process as a whole.
  if (std::optional<v1::SignalSender> asked_by = termination->Finish()) {
    v1::RunnerFinished finished = finish(v1::CANCELLED, "it was ended before the program began");
    if (asked_by->pid() != ::getppid()) *finished.mutable_terminated_by() = *std::move(asked_by);
    return finished;
  }
  const auto cannot = [&finish](const absl::Status& status) {
    return finish(v1::INVALID, fmt::format("the program cannot be started: {}", std::string(status.message())));
  };
  if (const absl::Status entered = EnterProgramContext(start.command()); !entered.ok()) return cannot(entered);
  v1::RunnerReport begin;
  *begin.mutable_program_begin() = ReadOwnUsage();
  // An agent that is gone ends this process in any case.
  (void)sender->Send(begin);
  return cannot(BecomeProgram(start.command()));
}

}  // namespace

int RunnerMain() {
  // Started through /proc/self/exe, it would be `exe` in the kernel's log of an OOM kill and in every list of
  // processes.
  ::prctl(PR_SET_NAME, "ballast-runner");
  if (!IsSocket(kControlFd)) {
    fmt::print(stderr,
               "error: a runner needs a control channel on descriptor 3\n  try: ballast-worker, or a program with the "
               "library; they start runners themselves\n");
    return kExitUsage;
  }
  const base::Fd control(kControlFd);
  ::fcntl(control.get(), F_SETFD, FD_CLOEXEC);
  std::stop_source stop;
  absl::StatusOr<std::unique_ptr<TerminationWatch>> termination = TerminationWatch::Start(&stop);
  if (!termination.ok()) {
    fmt::print(stderr, "error: runner: {}\n", std::string(termination.status().message()));
    return kExitAgentGone;
  }
  FrameDecoder decoder;
  absl::StatusOr<v1::RunnerStart> start = ReceiveStart(control.get(), &decoder);
  if (!start.ok()) {
    fmt::print(stderr, "error: runner: {}\n", std::string(start.status().message()));
    return kExitAgentGone;
  }
  FrameSender sender(control.get());
  if (start->has_command()) {
    v1::RunnerReport failed;
    *failed.mutable_finished() = TryToBecome(*start, termination->get(), &sender);
    return sender.Send(failed).ok() ? kExitDone : kExitAgentGone;
  }
  ReportingObserver observer(&sender, &stop);
  pressure::EngineRequests requests;
  std::jthread listener([fd = control.get(), &requests, &stop, rest = std::move(decoder)]() mutable {
    Listen(fd, std::move(rest), &requests, &stop);
  });

  v1::RunnerReport report;
  *report.mutable_finished() = ExecuteTask(*start, &observer, &requests, stop.get_token());
  if (std::optional<v1::SignalSender> sender_of_signal = (*termination)->Finish())
    *report.mutable_finished()->mutable_terminated_by() = *std::move(sender_of_signal);
  const absl::Status sent = sender.Send(report);
  // Lets the listener's wait end; what was sent stays readable for the agent.
  ::shutdown(control.get(), SHUT_RD);
  listener.join();
  return sent.ok() ? kExitDone : kExitAgentGone;
}

}  // namespace ballast::runner
