// What the coordinator's core decides, before it is committed: whether it may.
#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "coordinator/core/run_transitions.h"
#include "tests/simulation/ledger.h"

namespace ballast::simulation {

using core::IsActive;
using core::LastAttempt;

void Ledger::Decided(std::span<const core::Mutation> mutations) {
  for (const core::Mutation& mutation : mutations) DecidedOther(mutation);
  for (const core::Mutation& mutation : mutations) {
    const auto* put = std::get_if<core::PutRun>(&mutation);
    if (put == nullptr) continue;
    const auto known = decided_.find(put->run.run_id());
    const v1::Run* before = known == decided_.end() ? nullptr : &known->second;
    if (before == nullptr) {
      const auto stored = runs_.find(put->run.run_id());
      if (stored != runs_.end()) before = &stored->second;
    }
    DecidedRun(put->run, before);
    if (put->run.state() == v1::Run::ASSIGNED && LastAttempt(put->run) > (before == nullptr ? 0 : LastAttempt(*before)))
      DecidedAssignment(put->run);
    decided_[put->run.run_id()] = put->run;
  }
}

void Ledger::DecidedOther(const core::Mutation& mutation) {
  if (const auto* reservation = std::get_if<core::PutReservation>(&mutation)) {
    reserved_[reservation->reservation.reservation_id()] = reservation->reservation;
  } else if (const auto* ended = std::get_if<core::DeleteReservation>(&mutation)) {
    reserved_.erase(ended->reservation_id);
  } else if (const auto* device = std::get_if<core::PutDevice>(&mutation)) {
    decided_drained_[device->device.device_id()] = device->device.drained();
    if (device->device.health().has_quarantine_time()) {
      quarantined_.insert(device->device.device_id());
    } else {
      quarantined_.erase(device->device.device_id());
    }
  } else if (const auto* job = std::get_if<core::PutJob>(&mutation)) {
    decided_jobs_[job->job.job_id()] = job->job;
  }
}

bool Ledger::IsDrained(const std::string& device_id) const {
  const auto decided = decided_drained_.find(device_id);
  if (decided != decided_drained_.end()) return decided->second;
  const auto stored = devices_.find(device_id);
  return stored != devices_.end() && stored->second.drained();
}

void Ledger::CoordinatorSlept(nanoseconds time) {
  for (auto& [device_id, heard] : heard_) heard = std::min(heard + time, timeline_->now());
  started_ = std::min(started_ + time, timeline_->now());
}

std::map<std::string, const v1::Run*> Ledger::KnownRuns() const {
  std::map<std::string, const v1::Run*> known;
  for (const auto& [run_id, run] : runs_) known[run_id] = &run;
  for (const auto& [run_id, run] : decided_) known[run_id] = &run;
  return known;
}

void Ledger::DecidedAssignment(const v1::Run& run) {
  const v1::Job& job = decided_jobs_.contains(run.job_id()) ? decided_jobs_.at(run.job_id()) : jobs_.at(run.job_id());
  const bool is_check = job.health_check_device_id() == run.device_id();
  for (const auto& [reservation_id, reservation] : reserved_) {
    const auto& devices = reservation.device_ids();
    if (std::ranges::find(devices, run.device_id()) == devices.end() || reservation.holder() == job.submitter() ||
        is_check) {
      continue;
    }
    if (base::FromProto(reservation.start_time()) <= wall() && wall() < base::FromProto(reservation.end_time()))
      Fail(fmt::format("{} of {} was given {}, which is reserved for {}", run.run_id(), job.submitter(),
                       run.device_id(), reservation.holder()));
  }
  if (quarantined_.contains(run.device_id()) && !is_check)
    Fail(fmt::format("{} was given {}, which is in quarantine", run.run_id(), run.device_id()));
  // What was given up and is alive after all counts, and is not ended for the sake of a bound.
  std::uint32_t of_job = 1;
  std::uint32_t of_fleet = 1;
  for (const auto& [run_id, other] : KnownRuns()) {
    if (run_id == run.run_id()) continue;
    if (IsActive(*other)) ++of_fleet;
    if (other->job_id() != run.job_id()) continue;
    if (IsActive(*other)) ++of_job;
    if (job.spec().devices().count() > 0 && other->repetition() == run.repetition() &&
        other->device_id() == run.device_id()) {
      Fail(fmt::format("{} has {} and {} of the same repetition", run.device_id(), run_id, run.run_id()));
    }
  }
  if (job.spec().max_parallel_runs() > 0 && of_job > job.spec().max_parallel_runs())
    Fail(fmt::format("{} goes on with {} others, and its job may have {}", run.run_id(), of_job - 1,
                     job.spec().max_parallel_runs()));
  if (fleet_limit_ > 0 && of_fleet > fleet_limit_)
    Fail(fmt::format("{} goes on with {} others, and the fleet may have {}", run.run_id(), of_fleet - 1, fleet_limit_));
}

void Ledger::DecidedRun(const v1::Run& run, const v1::Run* before) {
  const std::uint32_t attempt = LastAttempt(run);
  const v1::Attempt* const last = Find(run, attempt);
  if (run.state() == v1::Run::ASSIGNED && attempt > (before == nullptr ? 0 : LastAttempt(*before)) &&
      IsDrained(run.device_id())) {
    Fail(fmt::format("{}@{} was given to {}, which is drained", run.run_id(), attempt, run.device_id()));
  }
  if (last == nullptr || !last->given_up()) return;
  const v1::Attempt* const was = before == nullptr ? nullptr : Find(*before, attempt);
  if (was != nullptr && was->given_up()) return;
  const AttemptKey key{run.run_id(), attempt};
  const v1::OutcomeKind kind = last->result().outcome().kind();
  const nanoseconds last_word = std::max(heard_[run.device_id()], started_);
  if (kind == v1::DEVICE_LOST) {
    const nanoseconds silence = timeline_->now() - last_word;
    const nanoseconds term = core::LostAfter(jobs_.at(run.job_id()).spec().policy());
    if (silence < term) {
      Fail(fmt::format("{} was given up as lost after {} s without a word, although it was left to its device for {} s",
                       ToText(key), base::ToSeconds(silence), base::ToSeconds(term)));
    }
  }
  if (kind == v1::TIMED_OUT && !told_overdue_.contains(key))
    Fail(fmt::format("{} was given up as too long, and its device was not told to end it", ToText(key)));
  if (kind == v1::WORKER_CRASHED && held_by(run.device_id()).contains(key)) {
    Fail(fmt::format("{} was given up, although its device has it: {}", ToText(key),
                     last->result().outcome().message()));
  }
}

}  // namespace ballast::simulation
