#include "worker/agent/watched_runner.h"

#include <utility>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/environment/oom_daemons.h"

namespace ballast::agent {
namespace {

using std::chrono::nanoseconds;

// A runner that has said its last word, or closed its end, has no reason to stay.
constexpr std::chrono::seconds kExitGrace(2);

bool IsPressure(RunnerRole role) {
  return role == RunnerRole::kPressure || role == RunnerRole::kPressureBesideLoad;
}

// What the kernel adds to the share of memory that a process has when it looks for a victim, in thousandths. The
// load that is tested goes before the pressure beside it, and either before anything else on the device.
int OomScoreAdjOf(RunnerRole role) {
  return role == RunnerRole::kPressureBesideLoad ? 700 : 1000;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WatchedRunner>> WatchedRunner::Prepare(const RunExecutorOptions& options,
                                                                      const v1::JobSpec& spec,
                                                                      nanoseconds attempt_start, RunnerRole role,
                                                                      environment::RunEnvironment* environment) {
  std::unique_ptr<WatchedRunner> watched(new WatchedRunner(options, spec, attempt_start, role, environment));
  BALLAST_ASSIGN_OR_RETURN(watched->guard_, RunGuard::Prepare(spec, options.root, environment->location(),
                                                              options.clock, attempt_start, IsPressure(role)));
  absl::StatusOr<KernelLog> kernel_log = KernelLog::Open(options.root);
  if (kernel_log.ok()) watched->kernel_log_ = *std::move(kernel_log);
  return watched;
}

WatchedRunner::WatchedRunner(const RunExecutorOptions& options, const v1::JobSpec& spec, nanoseconds attempt_start,
                             RunnerRole role, environment::RunEnvironment* environment)
    : options_(options), spec_(spec), attempt_start_(attempt_start), role_(role), environment_(environment) {}

absl::Status WatchedRunner::Start(const v1::RunnerStart& start, std::vector<base::ChildOptions::PassedFd> passed_fds) {
  BALLAST_ASSIGN_OR_RETURN(runner_,
                           runner::RunnerProcess::Start(options_.runner_program, start, environment_->cgroups(),
                                                        OomScoreAdjOf(role_), std::move(passed_fds)));
  pid_ = runner_->pid();
  environment_->Keep(pid_);
  guard_->Start(&*runner_);
  return absl::OkStatus();
}

std::array<pollfd, 4> WatchedRunner::Polled() const {
  const bool running = runner_ && !exit_;
  return {{{running ? runner_->pid_fd() : -1, POLLIN, 0},
           {running && !reports_ended_ ? runner_->report_fd() : -1, POLLIN, 0},
           {running ? environment_->keeper_fd() : -1, POLLIN, 0},
           {guard_->fd(), POLLIN, 0}}};
}

void WatchedRunner::Follow(nanoseconds now, News* news) {
  if (!runner_) return;
  ReadReports(now, news);
  FollowGuard(news);
  if (exit_) return;
  pollfd end = {runner_->pid_fd(), POLLIN, 0};
  if (::poll(&end, 1, 0) > 0) {
    guard_->Stop();  // which acts on the runner by its pid
    exit_ = runner_->TryWait();
    ReadReports(now, news);
    FollowGuard(news);
  } else {
    environment_->FollowKeeper();
  }
  if (kill_at_ && now >= *kill_at_ && !exit_) {
    runner_->Kill();
    killed_by_agent_ = true;
    kill_at_.reset();
  }
}

void WatchedRunner::FollowGuard(News* news) {
  RunGuard::News told = guard_->TakeNews();
  for (v1::Event& event : told.events) news->guard_events.push_back(std::move(event));
  if (told.asked && (!asked_ || asked_->killer == v1::GUARD)) asked_ = *std::move(told.asked);
  killed_by_agent_ = killed_by_agent_ || told.killed;
}

void WatchedRunner::ReadReports(nanoseconds now, News* news) {
  if (reports_ended_) return;
  const std::size_t before = news->reports.size();
  const absl::Status status = runner_->ReadReports(&news->reports);
  for (std::size_t i = before; i < news->reports.size(); ++i) {
    guard_->AddReport(news->reports[i]);
    if (news->reports[i].has_finished()) finished_ = news->reports[i].finished();
    program_began_ = program_began_ || news->reports[i].has_program_begin();
  }
  if (!status.ok()) {
    reports_ended_ = true;
    if (!absl::IsOutOfRange(status)) {
      base::Log().error("runner {}: {}", pid_, std::string(status.message()));
      if (!kill_at_) kill_at_ = now;  // what it does from now on nobody would know
    }
  }
  const bool last_word = finished_ || (reports_ended_ && !program_began_);
  if (last_word && !exit_ && !kill_at_ && !killed_by_agent_) kill_at_ = now + kExitGrace;
}

void WatchedRunner::RequestEnd(AskedEnd asked, nanoseconds now) {
  if (asked_) return;
  asked_ = std::move(asked);
  if (!runner_ || exit_ || finished_) return;
  // Where it cannot be asked, it is killed at once.
  kill_at_ = runner_->RequestStop().ok() ? now + options_.stop_grace : now;
}

void WatchedRunner::EndHold() {
  if (runner_ && !exit_) (void)runner_->RequestEndHold();
}

void WatchedRunner::Retarget(double target_percent) {
  if (runner_ && !exit_) (void)runner_->RequestTarget(target_percent);
}

void WatchedRunner::SuspendGuard() {
  guard_->Stop();
}

void WatchedRunner::ResumeGuard() {
  if (runner_ && !exit_) guard_->Resume();
}

v1::Outcome WatchedRunner::Conclude(std::uint64_t held_bytes, const SampleHistory& history) {
  guard_->Stop();
  EndFacts facts;
  if (exit_) facts.exit = *exit_;
  facts.finished = finished_;
  facts.asked = asked_;
  facts.killed_by_agent = killed_by_agent_;
  facts.is_program = program_began_ && !finished_;
  facts.oom = environment_->oom_watch().Recent();
  facts.own_group = environment_->own_group();
  facts.sees_every_limit = environment_->oom_watch().sees_every_limit();
  facts.note = environment_->note();
  facts.kernel_log_readable = kernel_log_.has_value();
  std::vector<std::string> kernel_messages;
  if (kernel_log_ && pid_ > 0) {
    kernel_messages = kernel_log_->ReadMessages();
    facts.kernel_log = FindOomVerdict(kernel_messages, pid_);
    if (facts.kernel_log == OomVerdict::kNone && kernel_log_->TellsAll() && NamesOtherVictim(kernel_messages, pid_)) {
      facts.kernel_log = OomVerdict::kOther;
    }
  }

  v1::Outcome outcome = ClassifyEnd(facts);
  v1::Evidence* const evidence = outcome.mutable_evidence();
  // What was refused was asked for on top of the most that was ever held.
  evidence->set_held_bytes(outcome.kind() == v1::ALLOCATION_FAILED ? finished_->peak_held_bytes() : held_bytes);
  const environment::OomCounts in_run = environment_->oom_watch().SinceStart();
  evidence->set_global_oom_kill_count(in_run.machine_kills.value_or(0));
  evidence->set_cgroup_oom_kill_count(in_run.kills.value_or(0));
  evidence->set_cgroup_oom_count(in_run.limit_hits);
  evidence->set_oom_cgroup(in_run.limit_cgroup);
  if (outcome.kind() == v1::COMPLETED) return outcome;
  *evidence->mutable_last_samples() = history.ToSeries();
  for (std::string& line : MessagesAbout(kernel_messages, pid_)) evidence->add_kernel_log(std::move(line));
  facts.oom_daemons = environment::FindOomDaemons(options_.root);
  for (const std::string& name : facts.oom_daemons) evidence->add_oom_daemons(name);
  if (pid_ == 0) {
    evidence->add_findings("agent: no runner was started");
  } else {
    for (std::string& finding : DescribeEnd(facts)) evidence->add_findings(std::move(finding));
  }
  return outcome;
}

}  // namespace ballast::agent
