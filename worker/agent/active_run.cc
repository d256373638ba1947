#include "worker/agent/active_run.h"

#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "worker/agent/end_of_run.h"
#include "worker/agent/quiet_watch.h"
#include "worker/agent/run_limits.h"
#include "worker/agent/self_protection.h"
#include "worker/environment/oom_daemons.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kEvidenceSpan(10);
// A runner that has said its last word, or closed its end, has no reason to stay.
constexpr std::chrono::seconds kExitGrace(2);
// A draft is written each second: one with a hundred thousand steps would be most of the disk's work.
constexpr int kMaxDraftEntries = 2000;
constexpr std::int64_t kMaxRehearsedSamples = 100;

timespec ToTimespec(nanoseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  timespec result{};
  result.tv_sec = seconds.count();
  result.tv_nsec = (time - seconds).count();
  return result;
}

std::optional<std::uint64_t> ToOptional(std::int64_t value) {
  if (value == metrics::kAbsent || value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveRun>> ActiveRun::Prepare(const RunExecutorOptions& options, AttemptKey key,
                                                              v1::JobSpec spec, Spool* spool) {
  std::unique_ptr<ActiveRun> run(new ActiveRun(options, std::move(key), std::move(spec), spool));
  run->environment_.emplace(environment::RunEnvironment::Create(options.cgroup_home, options.root));
  const os::CgroupLocation& place = run->environment_->location();
  BALLAST_ASSIGN_OR_RETURN(run->sampler_, telemetry::Sampler::Open(options.root, place));
  BALLAST_ASSIGN_OR_RETURN(run->gauge_, os::MemoryGauge::Open(options.root, place));
  BALLAST_ASSIGN_OR_RETURN(run->guard_, RunGuard::Prepare(run->spec_, options.root, place, options.clock, run->start_));
  absl::StatusOr<KernelLog> kernel_log = KernelLog::Open(options.root);
  if (kernel_log.ok()) run->kernel_log_ = *std::move(kernel_log);
  run->timer_.Reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!run->timer_.valid()) return base::ErrnoStatus(errno, "timerfd_create");
  return run;
}

ActiveRun::ActiveRun(const RunExecutorOptions& options, AttemptKey key, v1::JobSpec spec, Spool* spool)
    : options_(options),
      key_(std::move(key)),
      spec_(std::move(spec)),
      spool_(spool),
      sample_interval_(
          std::max(base::FromProto(spec_.telemetry().sample_interval()), nanoseconds(std::chrono::milliseconds(1)))),
      start_(options.clock->Monotonic()),
      findings_(spec_.workload()),
      stall_watch_(options.root),
      history_(kEvidenceSpan, sample_interval_),
      row_(metrics::EmptyRow()),
      conditions_(options.root),
      validity_(spec_),
      observer_meter_(options.root) {
  validity_.SetDevice(conditions_.oom_daemons(), conditions_.governor());
}

nanoseconds ActiveRun::Elapsed() const {
  return options_.clock->Monotonic() - start_;
}

nanoseconds ActiveRun::Planned() const {
  return std::max(findings_.planned().value_or(nanoseconds(0)),
                  PlannedDuration(spec_.workload()) + base::FromProto(spec_.validity().settle()));
}

v1::RunResult ActiveRun::CarryOut(RunControl* control, RunObserver* observer) {
  control_ = control;
  observer_ = observer;
  TakeSample(Elapsed());
  Rehearse();
  Settle();
  if (asked_) return ConcludeWithoutRunner(asked_->outcome, asked_->reason);
  validity_.Begin(row_, conditions_.Read());

  if (absl::Status status = StartRunner(); !status.ok()) {
    return ConcludeWithoutRunner(v1::WORKER_CRASHED,
                                 fmt::format("the runner could not be started: {}", std::string(status.message())));
  }
  const ScopedPriority priority;  // only now, so that the runner does not inherit it
  Watch();
  return Conclude();
}

void ActiveRun::Rehearse() {
  PrefaultStack();
  // A chunk as large as one becomes between two closings: its code, its buffers and the compressor's are there from now
  // on.
  const auto samples = std::min<std::int64_t>(options_.chunk_interval / sample_interval_ + 1, kMaxRehearsedSamples);
  for (std::int64_t i = 0; i < samples && !draft_chunk_.full(); ++i) draft_chunk_.AddSample(i * sample_interval_, row_);
  (void)draft_chunk_.Finish();
}

void ActiveRun::Settle() {
  const nanoseconds longest = base::FromProto(spec_.validity().settle());
  if (longest <= nanoseconds(0)) return;
  v1::RunnerReport settling;
  settling.mutable_phase()->set_kind(v1::Phase::SETTLE);
  *settling.mutable_phase()->mutable_start_offset() = base::ToProto(Elapsed());
  findings_.AddReport(settling);
  v1::Event started;
  *started.mutable_offset() = settling.phase().start_offset();
  started.set_kind(v1::Event::PHASE_STARTED);
  started.set_message(v1::Phase::Kind_Name(v1::Phase::SETTLE));
  AddEvent(started);

  QuietWatch watch(spec_.validity(), longest);
  watch.Add(Elapsed(), row_);
  std::string problem = watch.Problem();
  // Without a timer nothing would be seen: the run goes on then, and says so.
  bool watching = StartTimer().ok();
  while (watching && !problem.empty() && !asked_ && Elapsed() < longest) {
    std::array<pollfd, 2> polled = {{{timer_.get(), POLLIN, 0}, {control_->fd(), POLLIN, 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(longest - Elapsed());
    ::poll(polled.data(), polled.size(), static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, PollTimeout())));
    if (polled[0].revents != 0) {
      TakeDueSamples();
      watch.Add(Elapsed(), row_);
      problem = watch.Problem();
    }
    if (std::optional<AskedEnd> asked = control_->asked()) AskForEnd(*std::move(asked));
    FollowDeadlines();
  }
  if (!problem.empty() && !asked_) {
    spdlog::warn("run {}: the device did not become quiet: {}", ToText(key_), problem);
    validity_.SetNotSettled(longest, problem);
  }
}

absl::Status ActiveRun::StartRunner() {
  BALLAST_RETURN_IF_ERROR(StartTimer());
  v1::RunnerStart start;
  *start.mutable_workload() = spec_.workload();
  start.set_start_monotonic_ns(start_.count());
  start.set_scratch_dir(options_.scratch_dir);
  BALLAST_ASSIGN_OR_RETURN(runner_,
                           runner::RunnerProcess::Start(options_.runner_program, start, environment_->cgroups()));
  runner_pid_ = runner_->pid();
  environment_->Keep(runner_pid_);
  sampler_->WatchProcess(runner_pid_);
  guard_->Start(&*runner_);
  return absl::OkStatus();
}

absl::Status ActiveRun::StartTimer() {
  slot_ = static_cast<std::uint64_t>(Elapsed() / sample_interval_);
  itimerspec spec{};
  spec.it_value = ToTimespec(start_ + static_cast<std::int64_t>(slot_ + 1) * sample_interval_);
  spec.it_interval = ToTimespec(sample_interval_);
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0)
    return base::ErrnoStatus(errno, "timerfd_settime");
  return absl::OkStatus();
}

void ActiveRun::Watch() {
  while (!exit_) {
    std::array<pollfd, 5> polled = {{{runner_->pid_fd(), POLLIN, 0},
                                     {timer_.get(), POLLIN, 0},
                                     {reports_ended_ ? -1 : runner_->report_fd(), POLLIN, 0},
                                     {asked_ ? -1 : control_->fd(), POLLIN, 0},
                                     {guard_->fd(), POLLIN, 0}}};
    ::poll(polled.data(), polled.size(), PollTimeout());
    // Reports before the sample: a sample belongs to the phase that has begun by then.
    ReadReports();
    FollowGuard();
    if (polled[1].revents != 0) TakeDueSamples();
    if (!asked_) {
      if (std::optional<AskedEnd> asked = control_->asked()) AskForEnd(*std::move(asked));
    }
    if (polled[0].revents != 0) {
      guard_->Stop();  // which acts on the runner by its pid
      exit_ = runner_->TryWait();
    }
    FollowDeadlines();
  }
  ReadReports();
}

std::optional<nanoseconds> ActiveRun::Timeout() const {
  if (asked_ || exit_ || findings_.finished()) return std::nullopt;
  return RunTimeout(spec_.policy(), Planned());
}

int ActiveRun::PollTimeout() const {
  nanoseconds next = std::min({chunk_start_ + options_.chunk_interval, next_draft_, next_progress_});
  // A deadline that has passed and is not acted on would make every wait 0, for as long as the runner takes to die.
  if (const auto timeout = Timeout()) next = std::min(next, *timeout);
  if (kill_at_) next = std::min(next, *kill_at_);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Elapsed());
  return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, 60'000));
}

void ActiveRun::FollowDeadlines() {
  const nanoseconds now = Elapsed();
  if (kill_at_ && now >= *kill_at_ && !exit_) {
    runner_->Kill();
    killed_by_agent_ = true;
    kill_at_.reset();
  }
  if (const auto timeout = Timeout(); timeout && now >= *timeout) {
    AskForEnd({v1::TIMED_OUT, fmt::format("the run took longer than its limit of {}", base::FormatDuration(*timeout))});
  }
  if (now >= chunk_start_ + options_.chunk_interval) CloseChunk();
  if (now >= next_draft_) SaveDraft();
  environment_->oom_watch().Observe(now);
  if (now >= next_progress_) TellProgress();
}

void ActiveRun::AskForEnd(AskedEnd asked) {
  spdlog::info("run {}: asked to end: {}", ToText(key_), asked.reason);
  asked_ = std::move(asked);
  if (!runner_ || exit_ || findings_.finished()) return;
  // Where it cannot be asked, it is killed at once.
  kill_at_ = runner_->RequestStop().ok() ? Elapsed() + options_.stop_grace : Elapsed();
}

void ActiveRun::FollowGuard() {
  RunGuard::News news = guard_->TakeNews();
  for (const v1::Event& event : news.events) AddEvent(event);
  if (news.asked && (!asked_ || asked_->killer == v1::GUARD)) asked_ = *std::move(news.asked);
  killed_by_agent_ = killed_by_agent_ || news.killed;
}

void ActiveRun::ReadReports() {
  if (reports_ended_) return;
  reports_.clear();
  const absl::Status status = runner_->ReadReports(&reports_);
  for (const v1::RunnerReport& report : reports_) {
    findings_.AddReport(report);
    guard_->AddReport(report);
    if (report.has_event()) AddEvent(report.event());
  }
  if (!status.ok()) {
    reports_ended_ = true;
    if (!absl::IsOutOfRange(status)) {
      spdlog::error("run {}: {}", ToText(key_), std::string(status.message()));
      if (!kill_at_) kill_at_ = Elapsed();  // what it does from now on nobody would know
    }
  }
  if ((reports_ended_ || findings_.finished()) && !exit_ && !kill_at_ && !killed_by_agent_) {
    kill_at_ = Elapsed() + kExitGrace;
  }
}

void ActiveRun::TakeDueSamples() {
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) != static_cast<ssize_t>(sizeof expirations) ||
      expirations == 0) {
    return;
  }
  slot_ += expirations;
  missed_samples_ += expirations - 1;
  TakeSample(static_cast<std::int64_t>(slot_) * sample_interval_);
}

void ActiveRun::TakeSample(nanoseconds planned_offset) {
  const nanoseconds offset = Elapsed();
  sampler_->Sample(&row_);
  row_[metrics::IndexOf(MetricId::kSampleDelayUs)] =
      std::chrono::duration_cast<std::chrono::microseconds>(std::max(offset - planned_offset, nanoseconds(0))).count();
  if (runner_ && !findings_.finished()) {
    static const std::int64_t percent_scale =
        metrics::FindMetric(static_cast<std::uint32_t>(MetricId::kRunnerTargetPercent))->scale;
    row_[metrics::IndexOf(MetricId::kRunnerHeldBytes)] = static_cast<std::int64_t>(findings_.held_bytes());
    if (findings_.target_percent() > 0) {
      row_[metrics::IndexOf(MetricId::kRunnerTargetPercent)] =
          std::llround(findings_.target_percent() * static_cast<double>(percent_scale));
    }
  }
  history_.Add(offset, row_);
  findings_.AddSample(offset, row_, stall_watch_.Read(findings_.target_psi(), runner_pid_));
  validity_.AddSample(row_);
  if (chunk_.full()) CloseChunk();
  chunk_.AddSample(offset, row_);
}

void ActiveRun::AddEvent(const v1::Event& event) {
  if (chunk_.full()) CloseChunk();
  chunk_.AddEvent(event);
  chunk_events_.push_back(event);
}

void ActiveRun::CloseChunk() {
  chunk_start_ = Elapsed();
  if (chunk_.empty()) return;
  const std::size_t samples = chunk_.sample_count();
  chunk_events_.clear();
  const absl::Status status = spool_->AppendChunk(key_, chunk_.Finish());
  if (status.ok()) return;
  // The run goes on: its end is still worth knowing.
  lost_samples_ += samples;
  if (loss_reason_.empty()) {
    loss_reason_ = std::string(status.message());
    spdlog::error("run {}: samples are lost: {}", ToText(key_), loss_reason_);
  }
}

void ActiveRun::SaveDraft() {
  next_draft_ = Elapsed() + options_.draft_interval;
  for (std::size_t i = 0; i < history_.size(); ++i) {
    const SampleHistory::Entry& entry = history_[i];
    if (entry.offset >= chunk_start_ && !draft_chunk_.full()) draft_chunk_.AddSample(entry.offset, entry.row);
  }
  for (const v1::Event& event : chunk_events_) {
    if (!draft_chunk_.full()) draft_chunk_.AddEvent(event);
  }
  v1::RunResult so_far;
  findings_.Fill(&so_far);
  guard_->Fill(&so_far);
  so_far.set_missed_sample_count(missed_samples_);
  if (so_far.phases_size() + so_far.steps_size() > kMaxDraftEntries) {
    so_far.clear_phases();
    so_far.clear_steps();
  }
  so_far.set_limit_source(gauge_->limit_source());
  so_far.set_limit_bytes(ToOptional(history_.LastOf(MetricId::kMemLimitBytes)).value_or(0));
  so_far.mutable_outcome()->mutable_evidence()->set_held_bytes(findings_.held_bytes());
  if (validity_.begun()) {
    validity_.AddConditions(conditions_.Read());
    *so_far.mutable_validity() = validity_.Judge(so_far);
  }
  if (draft_chunk_.empty()) {
    spool_->SaveDraft(key_, nullptr, so_far);
    return;
  }
  const v1::Chunk growing = draft_chunk_.Finish();
  spool_->SaveDraft(key_, &growing, so_far);
}

void ActiveRun::TellProgress() {
  next_progress_ = Elapsed() + options_.progress_interval;
  v1::RunProgress progress;
  progress.set_run_id(key_.run_id);
  progress.set_attempt(key_.attempt);
  progress.set_phase(findings_.current_phase());
  *progress.mutable_elapsed() = base::ToProto(Elapsed());
  if (findings_.planned()) *progress.mutable_planned() = base::ToProto(*findings_.planned());
  progress.set_held_bytes(findings_.held_bytes());
  progress.set_target_percent(findings_.target_percent());
  const auto in_unit = [this](MetricId id) {
    const metrics::Metric* const metric = metrics::FindMetric(static_cast<std::uint32_t>(id));
    return static_cast<double>(row_[metrics::IndexOf(id)]) / static_cast<double>(metric->scale);
  };
  const auto present = [this](MetricId id) { return row_[metrics::IndexOf(id)] != metrics::kAbsent; };
  if (present(MetricId::kMemUsedPercent)) progress.set_used_percent(in_unit(MetricId::kMemUsedPercent));
  progress.set_available_bytes(ToOptional(row_[metrics::IndexOf(MetricId::kMemLimitAvailableBytes)]).value_or(0));
  if (present(MetricId::kPsiMemorySomeAvg10)) progress.set_psi_some_avg10(in_unit(MetricId::kPsiMemorySomeAvg10));
  observer_->OnProgress(progress);
}

v1::RunResult ActiveRun::ConcludeWithoutRunner(v1::OutcomeKind outcome, const std::string& message) {
  v1::RunResult result = Conclude();
  result.mutable_outcome()->set_kind(outcome);
  result.mutable_outcome()->set_message(message);
  result.mutable_outcome()->mutable_evidence()->set_killer(v1::KILLER_UNSPECIFIED);
  return result;
}

v1::RunResult ActiveRun::Conclude() {
  guard_->Stop();
  FollowGuard();
  EndFacts facts;
  if (exit_) facts.exit = *exit_;
  facts.finished = findings_.finished();
  facts.asked = asked_;
  facts.killed_by_agent = killed_by_agent_;
  if (runner_) TakeSample(Elapsed());  // after the end: the counts of OOM kills have the runner's in them
  facts.oom = environment_->oom_watch().Recent();
  facts.own_group = environment_->own_group();
  facts.sees_every_limit = environment_->oom_watch().sees_every_limit();
  facts.note = environment_->note();
  facts.kernel_log_readable = kernel_log_.has_value();
  std::vector<std::string> kernel_messages;
  if (kernel_log_ && runner_pid_ > 0) {
    kernel_messages = kernel_log_->ReadMessages();
    facts.kernel_log = FindOomVerdict(kernel_messages, runner_pid_);
    if (facts.kernel_log == OomVerdict::kNone && kernel_log_->TellsAll() &&
        NamesOtherVictim(kernel_messages, runner_pid_)) {
      facts.kernel_log = OomVerdict::kOther;
    }
  }

  v1::RunResult result;
  *result.mutable_outcome() = ClassifyEnd(facts);
  v1::Evidence* const evidence = result.mutable_outcome()->mutable_evidence();
  // What was refused was asked for on top of the most that was ever held.
  evidence->set_held_bytes(result.outcome().kind() == v1::ALLOCATION_FAILED ? facts.finished->peak_held_bytes()
                                                                            : findings_.held_bytes());
  const environment::OomCounts in_run = environment_->oom_watch().SinceStart();
  evidence->set_global_oom_kill_count(in_run.machine_kills.value_or(0));
  evidence->set_cgroup_oom_kill_count(in_run.kills.value_or(0));
  evidence->set_cgroup_oom_count(in_run.limit_hits);
  evidence->set_oom_cgroup(in_run.limit_cgroup);
  if (result.outcome().kind() == v1::OOM_KILLED) {
    v1::Event event;
    *event.mutable_offset() = base::ToProto(Elapsed());
    event.set_kind(v1::Event::OOM_KILL);
    event.set_message(result.outcome().message());
    event.set_value(static_cast<double>(runner_pid_));
    AddEvent(event);
  }
  if (result.outcome().kind() != v1::COMPLETED) {
    *evidence->mutable_last_samples() = history_.ToSeries();
    for (std::string& line : MessagesAbout(kernel_messages, runner_pid_)) evidence->add_kernel_log(std::move(line));
    facts.oom_daemons = environment::FindOomDaemons(options_.root);
    for (const std::string& name : facts.oom_daemons) evidence->add_oom_daemons(name);
    if (runner_pid_ == 0) {
      evidence->add_findings("agent: no runner was started");
    } else {
      for (std::string& finding : DescribeEnd(facts)) evidence->add_findings(std::move(finding));
    }
  }
  CloseChunk();

  findings_.Fill(&result);
  guard_->Fill(&result);
  result.set_missed_sample_count(missed_samples_);
  result.set_limit_bytes(ToOptional(history_.LastOf(MetricId::kMemLimitBytes)).value_or(0));
  result.set_limit_source(gauge_->limit_source());
  if (lost_samples_ > 0) {
    result.mutable_outcome()->set_message(
        fmt::format("{} ({} samples are lost: {})", result.outcome().message(), lost_samples_, loss_reason_));
  }
  // Where no load was carried out there is nothing that could be compared.
  if (runner_pid_ != 0 && result.outcome().kind() != v1::INVALID) {
    validity_.AddConditions(conditions_.Read());
    *result.mutable_validity() = validity_.Judge(result);
  }
  *result.mutable_observer_cost() = observer_meter_.Cost();
  return result;
}

}  // namespace ballast::agent
