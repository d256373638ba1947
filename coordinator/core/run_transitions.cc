#include "coordinator/core/run_transitions.h"

#include <algorithm>
#include <utility>

namespace ballast::core {
namespace {

// Attempts of a soak that brought it on by no cycle: more of them in all, and it cannot be carried out there.
constexpr std::uint32_t kSoakAttempts = 3;

v1::Attempt* Last(v1::Run* run) {
  return run->mutable_attempts(run->attempts_size() - 1);
}

void SlimOutcome(v1::Outcome* outcome) {
  if (!outcome->has_evidence()) return;
  outcome->mutable_evidence()->clear_last_samples();
  outcome->mutable_evidence()->clear_kernel_log();
}

void SlimResult(v1::RunResult* result) {
  result->clear_phases();
  result->clear_steps();
  result->clear_loads();
  result->clear_commands();
  result->clear_cycles();
  if (result->has_outcome()) SlimOutcome(result->mutable_outcome());
}

}  // namespace

bool IsActive(const v1::Run& run) {
  return run.state() == v1::Run::ASSIGNED || run.state() == v1::Run::RUNNING;
}

bool IsEnded(const v1::Run& run) {
  return run.state() == v1::Run::ENDED;
}

std::uint32_t LastAttempt(const v1::Run& run) {
  return static_cast<std::uint32_t>(run.attempts_size());
}

bool MayRevive(const v1::Run& run, std::uint32_t attempt) {
  return run.state() == v1::Run::QUEUED && attempt != 0 && attempt == LastAttempt(run) &&
         run.attempts(run.attempts_size() - 1).given_up() && !HasDeviceResult(run, attempt);
}

bool MayYield(const v1::Run& run, std::uint32_t attempt) {
  return run.state() == v1::Run::ASSIGNED && attempt != 0 && attempt + 1 == LastAttempt(run) &&
         run.attempts(static_cast<int>(attempt) - 1).given_up() && !HasDeviceResult(run, attempt);
}

bool HasDeviceResult(const v1::Run& run, std::uint32_t attempt) {
  if (attempt == 0 || attempt > LastAttempt(run)) return false;
  const v1::Attempt& entry = run.attempts(static_cast<int>(attempt) - 1);
  if (entry.has_result() && !entry.given_up()) return true;
  return std::any_of(run.late_results().begin(), run.late_results().end(),
                     [attempt](const v1::LateResult& late) { return late.attempt() == attempt; });
}

void Assign(v1::Run* run) {
  v1::Attempt* attempt = run->add_attempts();
  attempt->set_attempt(static_cast<std::uint32_t>(run->attempts_size()));
  run->set_state(v1::Run::ASSIGNED);
}

void Unassign(v1::Run* run) {
  run->mutable_attempts()->RemoveLast();
  run->clear_lease_expire_time();
  run->set_state(v1::Run::QUEUED);
}

bool NoteStart(const v1::AttemptStarted& started, std::uint32_t attempt, v1::Run* run) {
  v1::Attempt* const entry = run->mutable_attempts(static_cast<int>(attempt) - 1);
  if (entry->has_start_time()) return false;
  *entry->mutable_start_time() = started.start_time();
  entry->set_boot_id(started.boot_id());
  if (started.has_clock_offset()) *entry->mutable_clock_offset() = started.clock_offset();
  return true;
}

void Start(const v1::AttemptStarted& started, base::SystemTime now, v1::Run* run) {
  NoteStart(started, LastAttempt(*run), run);
  if (!run->has_start_time()) *run->mutable_start_time() = base::ToProto(now);
  run->set_state(v1::Run::RUNNING);
}

void FinishAttempt(v1::AttemptFinished finished, v1::Run* run) {
  v1::Attempt* attempt = Last(run);
  attempt->mutable_end_time()->Swap(finished.mutable_end_time());
  if (finished.has_clock_offset()) attempt->mutable_clock_offset()->Swap(finished.mutable_clock_offset());
  attempt->mutable_result()->Swap(finished.mutable_result());
  v1::Outcome* outcome = attempt->mutable_result()->mutable_outcome();
  if (outcome->kind() == v1::OUTCOME_KIND_UNSPECIFIED || !v1::OutcomeKind_IsValid(outcome->kind())) {
    outcome->set_kind(v1::INVALID);
    outcome->set_message("the worker reported the end of the run with no outcome that this coordinator knows");
  }
}

void GiveUpAttempt(v1::OutcomeKind kind, std::string message, base::SystemTime now, v1::Run* run) {
  v1::Attempt* attempt = Last(run);
  *attempt->mutable_end_time() = base::ToProto(now);
  attempt->set_given_up(true);
  attempt->mutable_result()->Clear();
  attempt->mutable_result()->mutable_outcome()->set_kind(kind);
  attempt->mutable_result()->mutable_outcome()->set_message(std::move(message));
}

void Requeue(v1::Run* run) {
  run->clear_lease_expire_time();
  run->set_state(v1::Run::QUEUED);
}

void Revive(v1::Run* run) {
  v1::Attempt* attempt = Last(run);
  attempt->clear_end_time();
  attempt->clear_result();
  attempt->clear_given_up();
  run->set_state(attempt->has_start_time() ? v1::Run::RUNNING : v1::Run::ASSIGNED);
}

void EndRun(base::SystemTime now, v1::Run* run) {
  *run->mutable_outcome() = run->attempts(run->attempts_size() - 1).result().outcome();
  SlimOutcome(run->mutable_outcome());  // the attempt keeps all of it; twice would double each run in every list
  *run->mutable_end_time() = base::ToProto(now);
  run->clear_lease_expire_time();
  run->set_state(v1::Run::ENDED);
}

void EndQueuedRun(v1::OutcomeKind kind, std::string message, base::SystemTime now, v1::Run* run) {
  run->mutable_outcome()->set_kind(kind);
  run->mutable_outcome()->set_message(std::move(message));
  *run->mutable_end_time() = base::ToProto(now);
  run->clear_lease_expire_time();
  run->set_state(v1::Run::ENDED);
}

void AddLateResult(std::uint32_t attempt, v1::AttemptFinished finished, base::SystemTime now, v1::Run* run) {
  v1::LateResult* late = run->add_late_results();
  late->set_attempt(attempt);
  *late->mutable_receive_time() = base::ToProto(now);
  late->mutable_result()->Swap(finished.mutable_result());
  if (finished.has_end_time()) late->mutable_end_time()->Swap(finished.mutable_end_time());
  if (finished.has_clock_offset()) late->mutable_clock_offset()->Swap(finished.mutable_clock_offset());
}

bool MayRetry(const v1::Run& run, const v1::JobSpec& spec) {
  const bool soak = spec.workload().has_stability();
  const auto counts = [soak](const v1::Attempt& attempt) { return !soak || attempt.result().cycles().empty(); };
  const auto counted = static_cast<std::uint32_t>(std::ranges::count_if(run.attempts(), counts));
  if (counted >= std::max(spec.policy().max_attempts(), soak ? kSoakAttempts : 1U)) return false;
  const v1::Attempt& attempt = run.attempts(run.attempts_size() - 1);
  switch (attempt.result().outcome().kind()) {
    case v1::WORKER_CRASHED:
    case v1::DEVICE_REBOOTED:
      return true;
    case v1::DEVICE_LOST:
      // A device that was lost in mid-run is a finding, and may come back with the result.
      return !attempt.has_start_time();
    default:
      return false;
  }
}

v1::SoakProgress SoakSoFar(const v1::Run& run) {
  v1::SoakProgress progress;
  std::chrono::nanoseconds elapsed{0};
  for (const v1::Attempt& attempt : run.attempts()) {
    if (!attempt.has_result() || !attempt.has_start_time() || !attempt.has_end_time()) continue;
    elapsed += std::max(base::FromProto(attempt.end_time()) - base::FromProto(attempt.start_time()),
                        base::SystemTime::duration(0));
    if (!attempt.result().cycles().empty()) progress.set_cycle_count(attempt.result().cycles().rbegin()->index());
  }
  *progress.mutable_elapsed() = base::ToProto(elapsed);
  return progress;
}

void Slim(v1::Run* run) {
  for (v1::Attempt& attempt : *run->mutable_attempts()) {
    if (attempt.has_result()) SlimResult(attempt.mutable_result());
  }
  for (v1::LateResult& late : *run->mutable_late_results()) SlimResult(late.mutable_result());
  if (run->has_outcome()) SlimOutcome(run->mutable_outcome());
}

std::chrono::nanoseconds LostAfter(const v1::RunPolicy& policy) {
  const std::chrono::nanoseconds given = base::FromProto(policy.lost_after());
  return given > std::chrono::nanoseconds(0) ? given : std::chrono::hours(1);
}

std::chrono::nanoseconds Timeout(const v1::RunPolicy& policy) {
  return std::max(base::FromProto(policy.timeout()), std::chrono::nanoseconds(0));
}

void CountStart(base::SystemTime now, v1::Job* job) {
  if (job->state() != v1::Job::QUEUED) return;
  job->set_state(v1::Job::RUNNING);
  *job->mutable_start_time() = base::ToProto(now);
}

bool CountEnd(const v1::Run& run, base::SystemTime now, v1::Job* job) {
  const v1::OutcomeKind expected =
      job->spec().policy().expect() == v1::OUTCOME_KIND_UNSPECIFIED ? v1::COMPLETED : job->spec().policy().expect();
  job->set_ended_run_count(job->ended_run_count() + 1);
  if (run.outcome().kind() == expected) job->set_expected_run_count(job->expected_run_count() + 1);
  if (job->ended_run_count() < job->run_count()) return false;
  job->set_state(job->cancel_requested() ? v1::Job::CANCELLED : v1::Job::FINISHED);
  *job->mutable_end_time() = base::ToProto(now);
  return true;
}

}  // namespace ballast::core
