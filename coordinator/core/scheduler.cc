#include "coordinator/core/scheduler.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/units.h"
#include "coordinator/core/job_variants.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::core {
namespace {

const v1::RunPolicy& PolicyOf(const RunEntry& run) {
  return run.job->job.spec().policy();
}

// When the device's run is given up if nothing is heard. Only a device out of contact loses it: terms shorter than the
// time after which silence counts cannot be kept.
std::chrono::nanoseconds LeaseEnd(const DeviceEntry& device, const CoreOptions& options) {
  std::chrono::nanoseconds term = LostAfter(PolicyOf(*device.active));
  if (device.session != 0) term = std::max(term, options.offline_after);
  return device.last_heard + term;
}

// Forgets what was done about the attempt before.
void BeginAttempt(RunEntry* run) {
  run->timeout_sent_at.reset();
  run->assign_repeats = 0;
  run->unanswered_sends = 0;
  run->cancel_repeats = 0;
}

}  // namespace

void Scheduler::Enqueue(RunEntry* run) {
  // The filter of a job that was taken in can be read.
  (void)queue_->Add(run);
}

bool Scheduler::IsFree(const DeviceEntry& device) {
  return device.online() && !device.device.drained() && device.active == nullptr && !device.occupied &&
         !device.blocked_until && !device.cool_until;
}

void Scheduler::Dispatch(Turn& turn, DeviceEntry* device) {
  if (!IsFree(*device)) return;
  const Choice choice = queue_->Next(device, turn.now());
  if (choice.run == nullptr) return;
  const std::uint32_t bound = state_->options().scheduling.max_parallel_runs;
  if (bound == 0 || (state_->active_runs < bound && held_back_.empty())) {
    Assign(turn, device, choice.run);
    return;
  }
  held_back_.insert(device->device.device_id());
  OfferFleet(turn);
}

void Scheduler::OfferFleet(Turn& turn) {
  while (state_->active_runs < state_->options().scheduling.max_parallel_runs && !held_back_.empty()) {
    Choice first;
    DeviceEntry* taker = nullptr;
    for (auto it = held_back_.begin(); it != held_back_.end();) {
      DeviceEntry* device = state_->FindDevice(*it);
      const Choice choice = device != nullptr && IsFree(*device) ? queue_->Next(device, turn.now()) : Choice{};
      if (choice.run == nullptr) {
        it = held_back_.erase(it);
        continue;
      }
      if (choice.Before(first)) {
        first = choice;
        taker = device;
      }
      ++it;
    }
    if (taker == nullptr) return;
    held_back_.erase(taker->device.device_id());
    Assign(turn, taker, first.run);
  }
}

void Scheduler::OfferJob(Turn& turn, JobEntry* job) {
  // Whoever is not looked at comes with its next heartbeat.
  constexpr int kMostDevices = 64;
  std::vector<DeviceEntry*> devices;
  for (const auto& [number, lane] : job->lanes) {
    if (lane->pool->device != nullptr) devices.push_back(lane->pool->device);
    for (const auto& [device_id, member] : lane->pool->members) {
      if (devices.size() < kMostDevices) devices.push_back(member);
    }
    if (devices.size() >= kMostDevices) break;
  }
  for (DeviceEntry* device : devices) {
    if (job->AtLimit()) return;
    Dispatch(turn, device);
  }
}

void Scheduler::Assign(Turn& turn, DeviceEntry* device, RunEntry* run) {
  device->active = run;
  run->run.set_device_id(device->device.device_id());
  queue_->Begin(run, turn.steady());
  core::Assign(&run->run);
  BeginAttempt(run);
  RenewLease(turn, device);
  SendAssignment(turn, device);
  turn.Changed(run);
  turn.Changed(device);
  EndWithoutDevice(turn, run->job);
}

void Scheduler::Adopt(Turn& turn, DeviceEntry* device, RunEntry* run) {
  device->active = run;
  queue_->Begin(run, turn.steady());
  run->sent_at = run->heard_at = run->started_at = turn.steady();
  RenewLease(turn, device);
  Arm(device);
}

void Scheduler::Release(Turn& turn, DeviceEntry* device, RunEntry* run) {
  queue_->End(device, run, turn.steady());
  const std::chrono::nanoseconds rest = state_->options().scheduling.cool_down;
  if (rest <= std::chrono::nanoseconds(0) || run->run.attempts().empty() ||
      !run->run.attempts(run->run.attempts_size() - 1).has_start_time()) {
    return;
  }
  device->cool_until = turn.steady() + rest;
  *device->device.mutable_cool_down_until_time() = base::ToProto(turn.wall() + rest);
}

void Scheduler::SendAssignment(Turn& turn, DeviceEntry* device) {
  RunEntry* run = device->active;
  run->sent_at = turn.steady();
  run->heard_at = turn.steady();
  ++run->unanswered_sends;
  v1::CoordinatorMessage message;
  v1::Assignment* assignment = message.mutable_assignment();
  assignment->set_run_id(run->run.run_id());
  assignment->set_attempt(LastAttempt(run->run));
  FillVariant(run->job->job, run->run, assignment);
  if (run->job->job.spec().workload().has_stability()) *assignment->mutable_soak() = SoakSoFar(run->run);
  turn.Send(device->session, std::move(message));
}

void Scheduler::RenewLease(Turn& turn, DeviceEntry* device) {
  if (device->active == nullptr) return;
  const std::chrono::nanoseconds left = LeaseEnd(*device, state_->options()) - turn.steady();
  *device->active->run.mutable_lease_expire_time() = base::ToProto(turn.wall() + left);
  turn.Changed(device->active);
}

void Scheduler::End(Turn& turn, RunEntry* run) {
  turn.Changed(run);
  turn.Changed(run->job);
  if (!CountEnd(run->run, turn.wall(), &run->job->job)) return;
  turn.JobEnded(run->job);
  health_->NoteJobEnd(turn, run->job->job);
}

void Scheduler::ConcludeAttempt(Turn& turn, DeviceEntry* device) {
  RunEntry* run = std::exchange(device->active, nullptr);
  JobEntry* job = run->job;
  turn.Changed(device);
  Release(turn, device, run);
  health_->NoteAttempt(turn, device, *run);
  if (!run->job->job.cancel_requested() && MayRetry(run->run, run->job->job.spec())) {
    Requeue(&run->run);
    Enqueue(run);
    turn.Changed(run);
  } else {
    EndRun(turn.wall(), &run->run);
    End(turn, run);
  }
  Dispatch(turn, device);
  OfferFleet(turn);
  if (job->job.spec().max_parallel_runs() > 0) OfferJob(turn, job);
}

void Scheduler::GiveUp(Turn& turn, DeviceEntry* device, v1::OutcomeKind kind, std::string message) {
  GiveUpAttempt(kind, std::move(message), turn.wall(), &device->active->run);
  ConcludeAttempt(turn, device);
}

void Scheduler::Refused(Turn& turn, DeviceEntry* device, v1::OutcomeKind kind, const std::string& reason) {
  RunEntry* run = device->active;
  JobEntry* job = run->job;
  // An earlier attempt that was given up may be alive on this device.
  if (!job->floats() || run->run.attempts_size() > 1) {
    GiveUp(turn, device, kind, reason);
    return;
  }
  std::erase_if(device->refused, [this](const auto& entry) { return state_->FindJob(entry.first) == nullptr; });
  device->refused[job->job.job_id()].insert(VariantOf(run->run));
  job->refusals[VariantOf(run->run)] = {.kind = kind, .device_id = device->device.device_id(), .reason = reason};
  Unassign(turn, device);
  EndWithoutDevice(turn, job);
  Dispatch(turn, device);
  OfferFleet(turn);
  OfferJob(turn, job);
}

void Scheduler::EndWithoutDevice(Turn& turn, JobEntry* job) {
  if (job->refusals.empty()) return;
  for (RunEntry* run : RunQueue::WithoutDevice(*job)) {
    const auto refusal = job->refusals.find(VariantOf(run->run));
    if (refusal == job->refusals.end()) continue;  // it waits for devices that may come
    queue_->Remove(run);
    // It counts as the device's that refused it, if that has no other of the group.
    const std::string& device_id = refusal->second.device_id;
    if (state_->FindDevice(device_id) != nullptr &&
        job->placements[device_id].groups.insert(job->GroupOf(run->index)).second) {
      run->run.set_device_id(device_id);
    }
    EndQueuedRun(refusal->second.kind, fmt::format("no other device is left for it; {}", refusal->second.reason),
                 turn.wall(), &run->run);
    End(turn, run);
  }
}

void Scheduler::NoteMembership(Turn& turn) {
  for (const auto& [job_id, job] : state_->jobs()) EndWithoutDevice(turn, job.get());
}

void Scheduler::TakeBack(Turn& turn, DeviceEntry* device) {
  JobEntry* job = device->active->job;
  Unassign(turn, device);
  OfferFleet(turn);
  OfferJob(turn, job);
}

void Scheduler::Unassign(Turn& turn, DeviceEntry* device) {
  RunEntry* run = std::exchange(device->active, nullptr);
  Release(turn, device, run);
  core::Unassign(&run->run);
  // The device has nothing of it and never will: another may take it. Where an earlier attempt was given up, that may
  // be alive on the device yet.
  if (run->job->floats() && run->run.attempts().empty()) queue_->Withdraw(device, run);
  turn.Changed(run);
  turn.Changed(device);
  if (run->job->job.cancel_requested()) {
    EndQueuedRun(v1::CANCELLED, "cancelled before it started", turn.wall(), &run->run);
    End(turn, run);
  } else {
    Enqueue(run);
  }
}

bool Scheduler::TryYield(Turn& turn, DeviceEntry* device, RunEntry* run, std::uint32_t attempt) {
  if (run != device->active || run->unanswered_sends != 0 || !MayYield(run->run, attempt)) return false;
  Unassign(turn, device);
  return !IsEnded(run->run) && TryRevive(turn, device, run, attempt);
}

bool Scheduler::TryRevive(Turn& turn, DeviceEntry* device, RunEntry* run, std::uint32_t attempt) {
  if (device->active != nullptr || !MayRevive(run->run, attempt)) return false;
  device->active = run;
  device->occupied.reset();
  queue_->Begin(run, turn.steady());
  Revive(&run->run);
  run->sent_at = turn.steady();
  run->heard_at = turn.steady();
  run->started_at = turn.steady();
  BeginAttempt(run);
  RenewLease(turn, device);
  turn.Changed(device);
  return true;
}

void Scheduler::HandleNoTrace(Turn& turn, DeviceEntry* device) {
  RunEntry* run = device->active;
  if (run->job->job.cancel_requested()) {
    GiveUp(turn, device, v1::CANCELLED, "cancelled; the device has no trace of the run");
  } else if (run->run.state() == v1::Run::ASSIGNED && run->assign_repeats < kMaxAssignRepeats) {
    ++run->assign_repeats;
    // It never arrived, or the device lost it before it began: the same attempt again is harmless in both cases.
    SendAssignment(turn, device);
    RenewLease(turn, device);
  } else if (run->run.state() == v1::Run::ASSIGNED) {
    // A worker drops an attempt that it has ended before, and one that kills it leaves nothing: both would go on for
    // ever, with nothing else for the device. Another attempt has another number.
    GiveUp(
        turn, device, v1::WORKER_CRASHED,
        fmt::format("the run was sent {} times and the worker has no trace of it: it failed before the run began, or "
                    "it had ended this attempt before (was the coordinator's database replaced by an older one?)",
                    kMaxAssignRepeats + 1));
  } else {
    GiveUp(turn, device, v1::WORKER_CRASHED,
           "the device lost the run: it began, but the worker has neither the run nor its records any more (was its "
           "data directory replaced, or do two machines use its identifier?)");
  }
}

void Scheduler::Cancel(Turn& turn, RunEntry* run) {
  if (IsEnded(run->run)) return;
  DeviceEntry* device = state_->FindDevice(run->run.device_id());
  if (run->run.state() == v1::Run::QUEUED) {
    queue_->Remove(run);
    EndQueuedRun(v1::CANCELLED, "cancelled while it waited for its device", turn.wall(), &run->run);
    End(turn, run);
    return;
  }
  if (device->session == 0) return;  // told when it returns; ended when its lease ends
  run->sent_at = turn.steady();
  SendCancel(turn, device, run->run.run_id(), LastAttempt(run->run), v1::CANCELLED, "the job was cancelled");
}

void Scheduler::HandleGoesOn(Turn& turn, DeviceEntry* device) {
  if (EndOverdue(turn, device)) return;
  RunEntry* run = device->active;
  if (!run->job->job.cancel_requested() || turn.steady() - run->sent_at < kCancelRepeat) return;
  if (run->cancel_repeats < kMaxCancelRepeats) {
    ++run->cancel_repeats;
    Cancel(turn, run);
    return;
  }
  // Its worker is still at it: nothing new for it until it says otherwise.
  device->occupied = HeldRun{run->run.run_id(), LastAttempt(run->run)};
  device->occupied_told = true;
  GiveUp(turn, device, v1::CANCELLED,
         fmt::format("cancelled; the device was told {} times and went on", kMaxCancelRepeats + 1));
}

void Scheduler::SendCancel(Turn& turn, DeviceEntry* device, const std::string& run_id, std::uint32_t attempt,
                           v1::OutcomeKind kind, std::string reason) {
  v1::CoordinatorMessage message;
  v1::CancelRun* cancel = message.mutable_cancel();
  cancel->set_run_id(run_id);
  cancel->set_attempt(attempt);
  cancel->set_outcome(kind);
  cancel->set_reason(std::move(reason));
  turn.Send(device->session, std::move(message));
}

void Scheduler::CheckTime(Turn& turn, DeviceEntry* device) {
  if (device->session != 0 && !device->silent &&
      turn.steady() - device->last_heard >= state_->options().offline_after) {
    device->silent = true;
    RenewLease(turn, device);
    turn.Changed(device);
  }
  if (device->active != nullptr) CheckActive(turn, device);
  if (device->blocked_until && turn.steady() >= *device->blocked_until) {
    device->blocked_until.reset();
    Dispatch(turn, device);
  }
  if (device->cool_until && turn.steady() >= *device->cool_until) {
    device->cool_until.reset();
    device->device.clear_cool_down_until_time();
    turn.Changed(device);
    Dispatch(turn, device);
  }
  health_->CheckTime(turn, device);
  Arm(device);
}

void Scheduler::CheckActive(Turn& turn, DeviceEntry* device) {
  RunEntry* run = device->active;
  if (!device->online()) {
    if (turn.steady() < LeaseEnd(*device, state_->options())) return;
    const std::string out_of_contact =
        fmt::format("the device was out of contact for {}", base::FormatDuration(turn.steady() - device->last_heard));
    const bool cancelled = run->job->job.cancel_requested();
    const HeldRun held{run->run.run_id(), LastAttempt(run->run)};
    GiveUp(turn, device, cancelled ? v1::CANCELLED : v1::DEVICE_LOST,
           cancelled ? fmt::format("cancelled; {}", out_of_contact) : out_of_contact);
    if (device->session != 0) {
      // Its worker may still be at it, and a session that only fell silent will not say so by connecting again. An
      // attempt that is to be repeated is left alone: if it is alive, it goes on.
      device->occupied = held;
      device->occupied_told = IsEnded(run->run);
      if (device->occupied_told)
        SendCancel(turn, device, held.run_id, held.attempt, run->run.outcome().kind(), out_of_contact);
    }
    return;
  }
}

bool Scheduler::EndOverdue(Turn& turn, DeviceEntry* device) {
  RunEntry* run = device->active;
  const std::chrono::nanoseconds timeout = Timeout(PolicyOf(*run));
  if (timeout == std::chrono::nanoseconds(0) || run->run.state() != v1::Run::RUNNING) return false;
  if (turn.steady() - run->started_at - timeout < kTimeoutGrace) return false;
  const std::string reason =
      fmt::format("the run took longer than the {} its policy allows", base::FormatDuration(timeout));
  if (!run->timeout_sent_at) {
    run->timeout_sent_at = turn.steady();
    SendCancel(turn, device, run->run.run_id(), LastAttempt(run->run), v1::TIMED_OUT, reason);
    return false;
  }
  if (turn.steady() - *run->timeout_sent_at < kTimeoutGrace) return false;
  device->occupied = HeldRun{run->run.run_id(), LastAttempt(run->run)};
  device->occupied_told = true;
  GiveUp(turn, device, v1::TIMED_OUT, reason + ", and the device did not end it when told");
  return true;
}

void Scheduler::Arm(DeviceEntry* device) {
  if (device->online()) state_->Arm(device, device->last_heard + state_->options().offline_after);
  if (device->blocked_until) state_->Arm(device, *device->blocked_until);
  if (device->cool_until) state_->Arm(device, *device->cool_until);
  if (HealthDesk::MayCheck(*device)) state_->Arm(device, *device->next_check);
  if (device->active != nullptr && !device->online()) state_->Arm(device, LeaseEnd(*device, state_->options()));
}

}  // namespace ballast::core
