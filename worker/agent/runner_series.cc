#include "worker/agent/runner_series.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::agent {
namespace {

using std::chrono::nanoseconds;

constexpr int kMostEvidence = 20;

}  // namespace

void SlimEvidence(v1::Outcome* outcome) {
  outcome->mutable_evidence()->clear_last_samples();
  outcome->mutable_evidence()->clear_kernel_log();
}

std::vector<pollfd> RunnerSeries::Polled() const {
  if (!runner_) return {};
  const auto polled = runner_->Polled();
  return {polled.begin(), polled.end()};
}

std::optional<nanoseconds> RunnerSeries::deadline() const {
  if (!runner_) return std::nullopt;
  std::optional<nanoseconds> next = runner_->deadline();
  if (timeout_at_ && !runner_->asked()) next = std::min(next.value_or(*timeout_at_), *timeout_at_);
  return next;
}

void RunnerSeries::Follow(WatchedRunner* pressure) {
  while (!runner_ && HasNext()) Begin(pressure);
  if (!runner_) return;
  WatchedRunner::News news;
  runner_->Follow(record_->Elapsed(), &news);
  for (const v1::RunnerReport& report : news.reports) OnReport(report);
  for (const v1::Event& event : news.guard_events) record_->AddEvent(event);
  if (runner_->ended()) {
    Conclude(pressure);
    return;
  }
  if (timeout_at_ && record_->Elapsed() >= *timeout_at_ && !runner_->asked()) {
    runner_->RequestEnd({v1::TIMED_OUT, fmt::format("the {} took longer than its limit of {}", Noun(),
                                                    base::FormatDuration(Timeout()))},
                        record_->Elapsed());
  }
}

void RunnerSeries::Begin(WatchedRunner* pressure) {
  const std::optional<v1::RunnerStart> start = TakeNext();
  if (!start) return;
  if (pressure != nullptr) pressure->SuspendGuard();
  if (const absl::Status status = StartRunner(*start); !status.ok()) {
    runner_.reset();
    environment_.reset();
    if (pressure != nullptr) pressure->ResumeGuard();
    v1::Outcome outcome;
    outcome.set_kind(v1::WORKER_CRASHED);
    outcome.set_message(fmt::format("the runner could not be started: {}", std::string(status.message())));
    Keep(std::move(outcome));
  }
}

absl::Status RunnerSeries::StartRunner(const v1::RunnerStart& start) {
  BALLAST_ASSIGN_OR_RETURN(environment::RunEnvironment environment,
                           environment::RunEnvironment::Create(options_.cgroup_home, limits_, options_.root));
  environment_.emplace(std::move(environment));
  BALLAST_ASSIGN_OR_RETURN(runner_, WatchedRunner::Prepare(options_, spec_, record_->start(), role_, &*environment_));
  v1::RunnerStart complete = start;
  complete.set_start_monotonic_ns(record_->start().count());
  complete.set_scratch_dir(options_.scratch_dir);
  BALLAST_RETURN_IF_ERROR(runner_->Start(complete, PassedFds()));
  record_->WatchLoad({runner_->pid()});
  record_->WatchLoadCgroup(environment_->own_group() ? &environment_->location() : nullptr);
  timeout_at_ = record_->Elapsed() + Timeout();
  OnStarted();
  return absl::OkStatus();
}

void RunnerSeries::RequestEnd(const AskedEnd& asked) {
  DropLeft();
  if (runner_) runner_->RequestEnd(asked, record_->Elapsed());
}

void RunnerSeries::Conclude(WatchedRunner* pressure) {
  record_->TakeSample();  // after the end: the counts of OOM kills have the runner's in them
  v1::Outcome outcome = runner_->Conclude(HeldBytes(), record_->history());
  OnExit();
  v1::RunResult acts;
  runner_->FillGuardActs(&acts);
  for (const v1::GuardAct& act : acts.guard_acts()) guard_acts_.push_back(act);
  runner_.reset();
  environment_.reset();
  timeout_at_.reset();
  record_->WatchLoad({});
  record_->WatchLoadCgroup(nullptr);
  record_->EndLoadPhase();
  if (pressure != nullptr) pressure->ResumeGuard();
  Keep(std::move(outcome));
}

void RunnerSeries::TellEnd(v1::Event::Kind kind, const std::string& what, std::uint32_t index, v1::Outcome* outcome) {
  v1::Event event;
  *event.mutable_offset() = base::ToProto(record_->Elapsed());
  if (outcome->kind() == v1::OOM_KILLED) {
    event.set_kind(v1::Event::OOM_KILL);
    event.set_message(outcome->message());
    record_->AddEvent(event);
  }
  event.set_kind(kind);
  event.set_message(fmt::format("{}: {}: {}", what, v1::OutcomeKind_Name(outcome->kind()), outcome->message()));
  event.set_value(index);
  record_->AddEvent(event);
  base::Log().info("{}", event.message());
  if (outcome->kind() != v1::COMPLETED && ++kept_evidence_ > kMostEvidence) SlimEvidence(outcome);
}

void RunnerSeries::FillGuardActs(v1::RunResult* result) const {
  for (const v1::GuardAct& act : guard_acts_) *result->add_guard_acts() = act;
}

}  // namespace ballast::agent
