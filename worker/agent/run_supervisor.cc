#include "worker/agent/run_supervisor.h"

#include <utility>

#include "common/base/logging.h"

namespace ballast::agent {
namespace {

AttemptKey KeyOf(const v1::Assignment& assignment) {
  return {assignment.run_id(), assignment.attempt()};
}

}  // namespace

void RunSupervisor::Relay::Set(SupervisorListener* listener) {
  const std::scoped_lock lock(mutex_);
  listener_ = listener;
}

void RunSupervisor::Relay::OnProgress(const v1::RunProgress& progress) {
  const std::scoped_lock lock(mutex_);
  if (listener_ != nullptr) listener_->OnProgress(progress);
}

void RunSupervisor::Relay::OnRejected(const v1::AssignmentRejected& rejected) {
  const std::scoped_lock lock(mutex_);
  if (listener_ != nullptr) listener_->OnRejected(rejected);
}

RunSupervisor::RunSupervisor(RunExecutorOptions options, Spool* spool)
    : executor_(std::move(options), spool), spool_(spool), thread_([this] { Loop(); }) {}

RunSupervisor::~RunSupervisor() {
  while (!Stop("the worker ended", std::chrono::hours(1))) {
  }
}

void RunSupervisor::SetListener(SupervisorListener* listener) {
  relay_.Set(listener);
}

void RunSupervisor::Refuse(const v1::Assignment& assignment, const std::string& reason) {
  v1::AssignmentRejected rejected;
  rejected.set_run_id(assignment.run_id());
  rejected.set_attempt(assignment.attempt());
  rejected.set_reason(reason);
  relay_.OnRejected(rejected);
}

void RunSupervisor::Assign(const v1::Assignment& assignment) {
  const AttemptKey key = KeyOf(assignment);
  std::string refusal;
  {
    const std::scoped_lock lock(mutex_);
    AssignmentVerdict verdict = desk_.Judge(key, spool_->Contains(key), stopping_);
    if (verdict.kind == AssignmentVerdict::Kind::kIgnore) {
      base::Log().debug("assignment of {} again: it is or was here", ToText(key));
      return;
    }
    refusal = std::move(verdict.reason);
    if (verdict.kind == AssignmentVerdict::Kind::kTake) {
      if (absl::StatusOr<std::unique_ptr<RunControl>> control = RunControl::Create(); control.ok()) {
        desk_.Begin(key);
        assignment_ = assignment;
        control_ = *std::move(control);
        changed_.notify_all();
      } else {
        refusal = std::string(control.status().message());
      }
    }
  }
  // Without the lock: the listener may hold its own while it calls in here.
  if (!refusal.empty()) Refuse(assignment, refusal);
}

void RunSupervisor::Cancel(const AttemptKey& key, v1::OutcomeKind outcome, const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  if (desk_.active() != key) return;
  control_->RequestEnd({outcome == v1::OUTCOME_KIND_UNSPECIFIED ? v1::CANCELLED : outcome,
                        reason.empty() ? std::string("the run was cancelled") : reason});
}

std::optional<AttemptKey> RunSupervisor::active() const {
  const std::scoped_lock lock(mutex_);
  return desk_.active();
}

bool RunSupervisor::Stop(const std::string& reason, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  if (control_) control_->RequestEnd({v1::WORKER_CRASHED, reason});
  changed_.notify_all();
  return changed_.wait_for(lock, timeout, [this] { return stopped_; });
}

void RunSupervisor::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || assignment_; });
    if (!assignment_) break;
    const v1::Assignment assignment = *assignment_;
    const std::shared_ptr<RunControl> control = control_;
    lock.unlock();
    const std::optional<v1::AssignmentRejected> rejected = executor_.Execute(assignment, control.get(), &relay_);
    if (rejected) {
      base::Log().warn("run {}: refused: {}", ToText(KeyOf(assignment)), rejected->reason());
      relay_.OnRejected(*rejected);
    }
    lock.lock();
    desk_.End(!rejected);
    assignment_.reset();
    control_.reset();
    changed_.notify_all();
  }
  stopped_ = true;
  changed_.notify_all();
}

}  // namespace ballast::agent
