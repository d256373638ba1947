#include "worker/agent/active_run.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/jobs/workload_parts.h"
#include "worker/agent/device_policy.h"
#include "worker/agent/load_plan.h"
#include "worker/agent/load_verdict.h"
#include "worker/agent/quiet_watch.h"
#include "worker/agent/run_limits.h"
#include "worker/agent/self_protection.h"

namespace ballast::agent {
namespace {

using metrics::MetricId;
using std::chrono::nanoseconds;

constexpr nanoseconds kLongestWait = std::chrono::minutes(1);

v1::Outcome OutcomeOf(v1::OutcomeKind kind, std::string message) {
  v1::Outcome outcome;
  outcome.set_kind(kind);
  outcome.set_message(std::move(message));
  return outcome;
}

// A soak goes on after these: they are what it is there to find.
bool EndsSoak(v1::OutcomeKind kind) {
  switch (kind) {
    case v1::COMPLETED:
    case v1::OOM_KILLED:
    case v1::GUARD_STOPPED:
    case v1::LOAD_FAILED:
    case v1::ALLOCATION_FAILED:
      return false;
    default:
      return true;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveRun>> ActiveRun::Prepare(const RunExecutorOptions& options,
                                                              v1::Assignment assignment,
                                                              std::optional<environment::LimitedGroup> limits,
                                                              Spool* spool) {
  std::unique_ptr<ActiveRun> run(new ActiveRun(options, std::move(assignment), std::move(limits)));
  BALLAST_ASSIGN_OR_RETURN(environment::RunEnvironment environment,
                           environment::RunEnvironment::Create(options.cgroup_home, run->limits(), options.root));
  run->environment_.emplace(std::move(environment));
  BALLAST_ASSIGN_OR_RETURN(run->record_,
                           RunRecord::Open(options, run->key_, run->spec(), run->environment_->location(), spool));
  run->record_->SetFillers([self = run.get()](v1::RunResult* result) { self->FillSoFar(result); },
                           [self = run.get()](v1::RunProgress* progress) { self->FillProgress(progress); });
  if (run->spec().workload().has_stability()) {
    run->soak_ = std::make_unique<Soak>(run->spec().workload().stability(), run->assignment_.soak());
  }
  return run;
}

ActiveRun::ActiveRun(const RunExecutorOptions& options, v1::Assignment assignment,
                     std::optional<environment::LimitedGroup> limits)
    : options_(options),
      assignment_(std::move(assignment)),
      key_{assignment_.run_id(), assignment_.attempt()},
      limits_(std::move(limits)),
      observer_meter_(options.root) {}

nanoseconds ActiveRun::Planned() const {
  if (soak_) return soak_->planned();
  return std::max(record_->findings().planned().value_or(nanoseconds(0)),
                  PlannedDuration(spec().workload()) + base::FromProto(spec().validity().settle()));
}

v1::RunResult ActiveRun::CarryOut(RunControl* control, RunObserver* observer) {
  control_ = control;
  observer_ = observer;
  record_->TakeSample();
  PrefaultStack();
  record_->Rehearse();
  // Without a timer nothing would be seen.
  absl::Status status = record_->StartTimer();
  if (status.ok()) Settle();
  if (status.ok() && !asked_) status = PrepareBeside();
  if (status.ok() && asked_) return Conclude(WithoutRunner(asked_->outcome, asked_->reason), false);
  absl::StatusOr<v1::Outcome> outcome = v1::Outcome();
  if (!status.ok()) outcome = status;
  if (status.ok()) {
    record_->BeginValidity();
    if (soak_) {
      outcome = CarryOutSoak();
    } else {
      if (loads_) loads_->Add(PlanLoads(spec().workload(), assignment_.models_size()), 0);
      outcome = CarryOutCycle();
      if (outcome.ok() && loads_) JudgeLoads(spec().workload(), loads_->results(), &*outcome);
      if (outcome.ok() && commands_) JudgeCommands(commands_->results(), &*outcome);
    }
  }
  if (outcome.ok()) return Conclude(*std::move(outcome), true);
  return Conclude(WithoutRunner(v1::WORKER_CRASHED, fmt::format("the runner could not be started: {}",
                                                                std::string(outcome.status().message()))),
                  false);
}

void ActiveRun::Settle() {
  const nanoseconds longest = base::FromProto(spec().validity().settle());
  if (longest <= nanoseconds(0)) return;
  v1::Phase phase;
  phase.set_kind(v1::Phase::SETTLE);
  record_->BeginPhase(std::move(phase));
  QuietWatch watch(spec().validity(), longest);
  watch.Add(record_->Elapsed(), record_->row());
  std::string problem = watch.Problem();
  nanoseconds last_sample = record_->Elapsed();
  while (!problem.empty() && !asked_ && record_->Elapsed() < longest) {
    const std::uint64_t before = record_->findings().sample_count();
    Turn({}, longest);
    if (record_->findings().sample_count() == before) continue;
    last_sample = record_->Elapsed();
    watch.Add(last_sample, record_->row());
    problem = watch.Problem();
  }
  if (!problem.empty() && !asked_) {
    base::Log().warn("run {}: the device did not become quiet: {}", ToText(key_), problem);
    record_->validity().SetNotSettled(longest, problem);
  }
}

absl::Status ActiveRun::PrepareBeside() {
  if (!spec().workload().has_command()) return PrepareModels();
  if (options_.commands == nullptr) return absl::FailedPreconditionError("this worker has no commands");
  BALLAST_ASSIGN_OR_RETURN(v1::CommandTask task, options_.commands->Resolve(spec().workload().command()));
  commands_ = std::make_unique<CommandSeries>(options_, spec(), std::move(task), limits(), record_.get());
  beside_ = commands_.get();
  return absl::OkStatus();
}

absl::Status ActiveRun::PrepareModels() {
  const v1::ModelLoad* const load = LoadOf(spec().workload());
  if (load == nullptr) return absl::OkStatus();
  const std::int64_t limit = record_->row()[metrics::IndexOf(MetricId::kMemLimitBytes)];
  BALLAST_ASSIGN_OR_RETURN(
      models_, ModelPreparation::Start(options_.models, {assignment_.models().begin(), assignment_.models().end()},
                                       *load, limit == metrics::kAbsent ? 0 : static_cast<std::uint64_t>(limit)));
  v1::Phase phase;
  phase.set_kind(v1::Phase::PREPARE);
  record_->BeginPhase(std::move(phase));
  preparing_ = true;
  while (!models_->over()) {
    if (asked_) models_->Stop();
    Turn({{models_->fd(), POLLIN, 0}});
  }
  preparing_ = false;
  loads_ = std::make_unique<LoadSeries>(options_, spec(), models_.get(), limits(), record_.get());
  beside_ = loads_.get();
  return absl::OkStatus();
}

v1::RunnerStart ActiveRun::PressureStart() const {
  v1::RunnerStart start;
  *start.mutable_workload() = v1::Workload();
  const v1::PressureWorkload* const pressure = jobs::PressureOf(spec().workload());
  v1::PressureWorkload* const started = start.mutable_workload()->mutable_pressure();
  if (pressure != nullptr) {
    *started = *pressure;
  } else {
    // Nothing is held; a second before and after shows what the device does without what runs beside it.
    started->mutable_baseline()->set_seconds(1);
    started->mutable_recovery()->set_seconds(1);
    started->set_fill_threads(1);
    started->set_memory_kind(v1::ANONYMOUS);
    started->mutable_content()->set_kind(v1::PageContent::RANDOM);
  }
  start.set_start_monotonic_ns(record_->start().count());
  start.set_scratch_dir(options_.scratch_dir);
  start.set_hold_until_told(beside_ != nullptr || pressure == nullptr);
  return start;
}

absl::Status ActiveRun::StartPressure() {
  const bool beside = beside_ != nullptr;
  BALLAST_ASSIGN_OR_RETURN(
      pressure_,
      WatchedRunner::Prepare(options_, spec(), record_->start(),
                             beside ? RunnerRole::kPressureBesideLoad : RunnerRole::kPressure, &*environment_));
  if (absl::Status status = pressure_->Start(PressureStart()); !status.ok()) {
    pressure_.reset();
    return status;
  }
  record_->WatchPressure(pressure_->pid());
  return absl::OkStatus();
}

absl::StatusOr<v1::Outcome> ActiveRun::CarryOutCycle() {
  holding_ = hold_ended_ = false;
  BALLAST_RETURN_IF_ERROR(StartPressure());
  std::optional<ScopedPriority> priority;
  while (!pressure_->ended() || (beside_ != nullptr && !beside_->idle())) {
    if (!priority) priority.emplace();
    std::vector<pollfd> more;
    for (const pollfd& polled : pressure_->Polled()) more.push_back(polled);
    std::optional<nanoseconds> until = pressure_->deadline();
    if (beside_ != nullptr) {
      for (const pollfd& polled : beside_->Polled()) more.push_back(polled);
      if (const auto due = beside_->deadline()) until = std::min(until.value_or(*due), *due);
    }
    Turn(std::move(more), until);
    if (beside_ == nullptr || !holding_) continue;
    priority.reset();  // a runner that is started would inherit it
    if (pressure_->ended()) beside_->RequestEnd({v1::CANCELLED, "the pressure beside it had ended", v1::AGENT});
    beside_->Follow(pressure_.get());
    if (beside_->over() && !hold_ended_) {
      hold_ended_ = true;
      pressure_->EndHold();
    }
  }
  return ConcludePressure();
}

v1::Outcome ActiveRun::CarryOutSoak() {
  while (!asked_ && soak_->Continues(record_->Elapsed())) {
    environment_->WatchAnew(options_.root);
    soak_->BeginCycle(record_->Elapsed());
    record_->findings().SetCycle(soak_->cycle());
    if (loads_) loads_->Add(PlanLoads(spec().workload(), assignment_.models_size()), soak_->cycle());
    const std::uint32_t loads_before = loads_ ? loads_->ended_count() : 0;
    absl::StatusOr<v1::Outcome> carried_out = CarryOutCycle();
    v1::Outcome outcome =
        carried_out.ok() ? *std::move(carried_out)
                         : WithoutRunner(v1::WORKER_CRASHED, fmt::format("the runner could not be started: {}",
                                                                         std::string(carried_out.status().message())));
    const bool loaded = loads_ && loads_->ended_count() > loads_before;
    soak_->EndCycle(record_->Elapsed(), outcome, loaded ? &loads_->last() : nullptr, record_->row());
    v1::Event event;
    *event.mutable_offset() = base::ToProto(record_->Elapsed());
    event.set_kind(v1::Event::CYCLE_COMPLETED);
    event.set_message(fmt::format("cycle {}: {}", soak_->cycle(), v1::OutcomeKind_Name(soak_->last_outcome())));
    event.set_value(soak_->cycle());
    record_->AddEvent(event);
    if (EndsSoak(outcome.kind())) return outcome;
  }
  if (asked_) return WithoutRunner(asked_->outcome, asked_->reason);
  return OutcomeOf(v1::COMPLETED, soak_->Summary());
}

void ActiveRun::Turn(std::vector<pollfd> more, std::optional<nanoseconds> until) {
  more.push_back({record_->timer_fd(), POLLIN, 0});
  more.push_back({asked_ ? -1 : control_->fd(), POLLIN, 0});
  nanoseconds next = record_->deadline();
  // A deadline that has passed and is not acted on would make every wait 0, for as long as the runner takes to die.
  if (const auto timeout = Timeout()) next = std::min(next, *timeout);
  if (until) next = std::min(next, *until);
  const nanoseconds wait = std::clamp(next - record_->Elapsed(), nanoseconds(0), kLongestWait);
  ::poll(more.data(), more.size(), static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count()));
  // Reports before the sample: a sample belongs to the phase that has begun by then.
  FollowPressure();
  if (record_->TakeDueSamples()) {
    if (beside_ != nullptr) beside_->AddSample();
    if (soak_) soak_->AddSample(record_->row(), record_->findings().held_bytes());
  }
  if (!asked_) {
    if (std::optional<AskedEnd> asked = control_->asked()) AskForEnd(*std::move(asked));
  }
  if (const auto target = control_->TakeTarget(); target && pressure_) pressure_->Retarget(*target);
  if (const auto timeout = Timeout(); timeout && record_->Elapsed() >= *timeout) {
    AskForEnd({v1::TIMED_OUT, fmt::format("the run took longer than its limit of {}", base::FormatDuration(*timeout))});
  }
  if (pressure_) environment_->oom_watch().Observe(record_->Elapsed());
  record_->FollowDeadlines(observer_);
}

void ActiveRun::FollowPressure() {
  if (!pressure_ || pressure_->ended()) return;
  WatchedRunner::News news;
  pressure_->Follow(record_->Elapsed(), &news);
  for (const v1::RunnerReport& report : news.reports) record_->AddReport(report);
  for (const v1::Event& event : news.guard_events) record_->AddEvent(event);
  holding_ = holding_ || record_->findings().pressure_phase() == v1::Phase::HOLD;
  if (pressure_->finished() || pressure_->ended()) record_->SetPressureSpeaks(false);
}

std::optional<nanoseconds> ActiveRun::Timeout() const {
  if (asked_ || preparing_ || (pressure_ && (pressure_->ended() || pressure_->finished()))) return std::nullopt;
  const nanoseconds timeout = RunTimeout(spec(), Planned());
  return std::min(timeout, LongestRun(options_.policy).value_or(timeout));
}

void ActiveRun::AskForEnd(AskedEnd asked) {
  base::Log().info("run {}: asked to end: {}", ToText(key_), asked.reason);
  if (beside_ != nullptr) beside_->RequestEnd(asked);
  if (pressure_) pressure_->RequestEnd(asked, record_->Elapsed());
  asked_ = std::move(asked);
}

void ActiveRun::FillProgress(v1::RunProgress* progress) const {
  if (soak_) {
    progress->set_cycle(soak_->cycle());
    *progress->mutable_planned() = base::ToProto(soak_->planned());
  }
  if (preparing_) {
    const PrepareProgress prepared = models_->progress();
    progress->set_quant(models_->quant());
    progress->set_prepared_bytes(prepared.done_bytes);
    progress->set_prepare_bytes(prepared.total_bytes);
  }
  if (beside_ == nullptr) return;
  if (!soak_) progress->clear_planned();
  beside_->FillProgress(soak_ != nullptr, progress);
}

v1::Outcome ActiveRun::ConcludePressure() {
  record_->SetPressureSpeaks(false);
  record_->TakeSample();  // after the end: the counts of OOM kills have the runner's in them
  v1::RunResult result;
  *result.mutable_outcome() = pressure_->Conclude(record_->findings().held_bytes(), record_->history());
  pressure_->FillGuardActs(&result);
  for (const v1::GuardAct& act : result.guard_acts()) guard_acts_.push_back(act);
  if (result.outcome().kind() == v1::OOM_KILLED) {
    v1::Event event;
    *event.mutable_offset() = base::ToProto(record_->Elapsed());
    event.set_kind(v1::Event::OOM_KILL);
    event.set_message(result.outcome().message());
    event.set_value(static_cast<double>(pressure_->pid()));
    record_->AddEvent(event);
  }
  record_->WatchPressure(0);
  pressure_.reset();
  return std::move(*result.mutable_outcome());
}

v1::Outcome ActiveRun::WithoutRunner(v1::OutcomeKind kind, std::string message) const {
  v1::Outcome outcome = OutcomeOf(kind, std::move(message));
  *outcome.mutable_evidence()->mutable_last_samples() = record_->history().ToSeries();
  outcome.mutable_evidence()->add_findings("agent: no runner was started");
  return outcome;
}

v1::RunResult ActiveRun::Conclude(v1::Outcome outcome, bool judged) {
  v1::RunResult result;
  judged = judged && outcome.kind() != v1::INVALID;
  *result.mutable_outcome() = std::move(outcome);
  if (limits_) *result.mutable_environment() = limits_->applied();
  for (const v1::GuardAct& act : guard_acts_) *result.add_guard_acts() = act;
  if (beside_ != nullptr) beside_->Fill(false, &result);
  if (soak_) {
    for (const v1::StabilityCycle& cycle : soak_->cycles()) *result.add_cycles() = cycle;
  }
  std::ranges::stable_sort(*result.mutable_guard_acts(), {},
                           [](const v1::GuardAct& act) { return base::FromProto(act.offset()); });
  record_->Finish(judged, &result);
  *result.mutable_observer_cost() = observer_meter_.Cost();
  return result;
}

void ActiveRun::FillSoFar(v1::RunResult* result) const {
  if (limits_) *result->mutable_environment() = limits_->applied();
  for (const v1::GuardAct& act : guard_acts_) *result->add_guard_acts() = act;
  if (pressure_) pressure_->FillGuardActs(result);
  if (beside_ != nullptr) beside_->Fill(true, result);
  if (!soak_) return;
  for (const v1::StabilityCycle& cycle : soak_->cycles()) *result->add_cycles() = cycle;
}

}  // namespace ballast::agent
