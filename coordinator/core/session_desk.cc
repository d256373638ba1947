#include "coordinator/core/session_desk.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "coordinator/core/labels.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::core {
namespace {

constexpr std::uint32_t kProtocolVersion = 1;
constexpr std::size_t kMaxDeviceIdBytes = 64;
// What is kept of a worker and goes out with every list of devices.
constexpr std::size_t kMaxFactsBytes = 64U << 10U;
constexpr std::size_t kMaxProblemBytes = 512;
constexpr int kMaxHeldAttempts = 10'000;
// The stored term of a lease follows the true one in steps of half the term, but not more often than this.
constexpr std::chrono::nanoseconds kLeaseWriteInterval = std::chrono::seconds(10);

bool IsDeviceId(const std::string& text) {
  if (text.empty() || text.size() > kMaxDeviceIdBytes) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

absl::Status CheckHello(const v1::Hello& hello) {
  if (hello.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "the worker speaks version {} of the protocol, this coordinator version {}; install the same release of both",
        hello.protocol_version(), kProtocolVersion));
  }
  if (!IsDeviceId(hello.device_id())) {
    return absl::InvalidArgumentError(
        fmt::format("a device identifier has 1 to {} letters, digits, dots, dashes or underscores", kMaxDeviceIdBytes));
  }
  if (hello.labels().size() > kMaxLabels) {
    return absl::InvalidArgumentError(
        fmt::format("{} labels; a device may have {}", hello.labels().size(), kMaxLabels));
  }
  std::size_t bytes = hello.facts().ByteSizeLong();
  for (const auto& [key, value] : hello.labels()) {
    BALLAST_RETURN_IF_ERROR(CheckLabel(key, value));
    bytes += key.size() + value.size();
  }
  if (bytes > kMaxFactsBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "the facts and labels of the device have {} bytes; at most {} are accepted", bytes, kMaxFactsBytes));
  }
  if (hello.held_attempts_size() > kMaxHeldAttempts) {
    return absl::InvalidArgumentError(
        fmt::format("{} held attempts; at most {} are accepted", hello.held_attempts_size(), kMaxHeldAttempts));
  }
  return absl::OkStatus();
}

// How an attempt that the core has closed is ended on its device.
v1::OutcomeKind KindOfCancel(const RunEntry* run) {
  if (run == nullptr || !IsEnded(run->run)) return v1::CANCELLED;
  const v1::OutcomeKind kind = run->run.outcome().kind();
  return kind == v1::TIMED_OUT || kind == v1::DEVICE_LOST ? kind : v1::CANCELLED;
}

}  // namespace

DeviceEntry* SessionDesk::Touch(Turn& turn, SessionId session) {
  DeviceEntry* device = state_->FindSession(session);
  if (device == nullptr) return nullptr;
  device->last_heard = turn.steady();
  *device->device.mutable_last_seen_time() = base::ToProto(turn.wall());
  if (device->silent) {
    device->silent = false;
    turn.Changed(device);
    scheduler_->RenewLease(turn, device);
  }
  return device;
}

void SessionDesk::Hello(Turn& turn, SessionId session, v1::Hello hello) {
  if (absl::Status status = CheckHello(hello); !status.ok()) {
    turn.End(session, std::move(status));
    return;
  }
  if (state_->FindSession(session) != nullptr) {
    turn.End(session, absl::FailedPreconditionError("a session has one hello, as its first message"));
    Disconnect(turn, session);
    return;
  }
  std::map<std::string, std::string> labels(hello.labels().begin(), hello.labels().end());
  DeviceEntry* device = state_->FindDevice(hello.device_id());
  if (device == nullptr) {
    v1::Device fresh;
    fresh.set_device_id(hello.device_id());
    *fresh.mutable_create_time() = base::ToProto(turn.wall());
    device = &state_->AddDevice(std::move(fresh));
  }
  if (absl::Status status = MergeLabels(labels, &device->device); !status.ok()) {
    turn.End(session, std::move(status));
    return;
  }
  if (device->session != 0) {
    turn.End(
        device->session,
        absl::AbortedError(fmt::format(
            "another worker connected as device {}; if these are two machines, give one of them a device_id of its own",
            hello.device_id())));
    state_->UnbindSession(device->session);
  }
  state_->BindSession(session, device);
  device->worker_labels = std::move(labels);
  device->device.mutable_facts()->Swap(hello.mutable_facts());
  queue_->UpdateMembership(device);
  device->occupied.reset();
  device->blocked_until.reset();
  queue_->ForgetRefusals(device);
  scheduler_->NoteMembership(turn);
  device->last_heard = turn.steady();
  *device->device.mutable_last_seen_time() = base::ToProto(turn.wall());
  if (device->active != nullptr) {
    device->active->unanswered_sends = 0;
    device->active->timeout_sent_at.reset();
  }
  turn.Changed(device);

  v1::CoordinatorMessage message;
  v1::Welcome* welcome = message.mutable_welcome();
  welcome->set_coordinator_version(state_->options().version);
  *welcome->mutable_heartbeat_interval() = base::ToProto(state_->options().heartbeat_interval);
  *welcome->mutable_server_time() = base::ToProto(turn.wall());
  turn.Send(session, std::move(message));

  Reconcile(turn, device, hello);
  scheduler_->RenewLease(turn, device);
  scheduler_->Dispatch(turn, device);
}

void SessionDesk::Reconcile(Turn& turn, DeviceEntry* device, const v1::Hello& hello) {
  bool has_active = false;
  for (const v1::HeldAttempt& held : hello.held_attempts()) {
    RunEntry* run = state_->FindRun(held.run_id());
    if (run != nullptr && run->run.device_id() == device->device.device_id()) {
      scheduler_->TryRevive(turn, device, run, held.attempt());
      if (run == device->active && held.attempt() == LastAttempt(run->run)) {
        has_active = true;
        run->heard_at = turn.steady();
        if (held.active() && run->job->job.cancel_requested()) scheduler_->Cancel(turn, run);
        continue;
      }
    }
    if (held.active()) Occupy(turn, device, held.run_id(), held.attempt());
  }
  // A hello can arrive late, from a session that its worker has left for another. Such a worker sends nothing more
  // there, so the next heartbeat tells whether this one is meant.
  device->missed.reset();
  if (device->active != nullptr && !has_active) {
    device->missed = HeldRun{device->active->run.run_id(), LastAttempt(device->active->run)};
  }
}

void SessionDesk::Occupy(Turn& turn, DeviceEntry* device, const std::string& run_id, std::uint32_t attempt) {
  const HeldRun held{run_id, attempt};
  if (device->occupied != held) {
    device->occupied = held;
    device->occupied_told = false;
    turn.Changed(device);
  }
  if (device->occupied_told) return;
  const RunEntry* run = state_->FindRun(run_id);
  // An original whose run waits for another attempt may yet go on: what the device was given meanwhile it refuses,
  // since it is busy, and then it is free for it.
  if (run != nullptr && run->run.device_id() == device->device.device_id() && !run->job->job.cancel_requested() &&
      (MayRevive(run->run, attempt) || MayYield(run->run, attempt))) {
    return;
  }
  device->occupied_told = true;
  scheduler_->SendCancel(turn, device, run_id, attempt, KindOfCancel(run), "the coordinator has closed this attempt");
}

void SessionDesk::Disconnect(Turn& turn, SessionId session) {
  DeviceEntry* device = state_->FindSession(session);
  if (device == nullptr) return;
  state_->UnbindSession(session);
  device->occupied.reset();
  device->blocked_until.reset();
  scheduler_->RenewLease(turn, device);
  turn.Changed(device);
}

void SessionDesk::Heartbeat(Turn& turn, SessionId session, const v1::Heartbeat& heartbeat) {
  DeviceEntry* device = Touch(turn, session);
  if (device == nullptr) return;
  if (heartbeat.clock_probe() != 0) {
    v1::CoordinatorMessage message;
    message.mutable_clock_reading()->set_clock_probe(heartbeat.clock_probe());
    *message.mutable_clock_reading()->mutable_time() = base::ToProto(turn.wall());
    turn.Send(session, std::move(message));
  }
  const std::string problem =
      base::RepairUtf8(std::string_view(heartbeat.storage_problem()).substr(0, kMaxProblemBytes));
  if (device->device.storage_problem() != problem) {
    device->device.set_storage_problem(problem);
    turn.Changed(device);
  }
  RunEntry* active = device->active;
  const bool idle = heartbeat.active_run_id().empty();
  if (idle) {
    if (device->occupied) turn.Changed(device);
    device->occupied.reset();
    device->blocked_until.reset();
    const bool long_silent =
        active != nullptr && turn.steady() - std::max(active->sent_at, active->heard_at) > kSilentRunGrace;
    const bool missed = active != nullptr && device->missed == HeldRun{active->run.run_id(), LastAttempt(active->run)};
    device->missed.reset();
    if (missed || (long_silent && heartbeat.spool_bytes() == 0)) scheduler_->HandleNoTrace(turn, device);
  } else {
    RunEntry* run = state_->FindRun(heartbeat.active_run_id());
    const bool here = run != nullptr && run->run.device_id() == device->device.device_id();
    if (here && !scheduler_->TryYield(turn, device, run, heartbeat.active_attempt()))
      scheduler_->TryRevive(turn, device, run, heartbeat.active_attempt());
    if (here && run == device->active && heartbeat.active_attempt() == LastAttempt(run->run)) {
      if (device->occupied) turn.Changed(device);
      device->occupied.reset();
      scheduler_->HandleGoesOn(turn, device);
    } else {
      Occupy(turn, device, heartbeat.active_run_id(), heartbeat.active_attempt());
    }
  }
  if (device->active != nullptr) {
    const base::SystemTime written = base::FromProto(device->active->run.lease_expire_time());
    const std::chrono::nanoseconds term = LostAfter(device->active->job->job.spec().policy());
    const std::chrono::nanoseconds left = written - turn.wall();
    if (left < term - std::max(kLeaseWriteInterval, term / 2)) scheduler_->RenewLease(turn, device);
  }
  scheduler_->Dispatch(turn, device);
}

void SessionDesk::Progress(Turn& turn, SessionId session, v1::RunProgress progress) {
  DeviceEntry* device = Touch(turn, session);
  if (device == nullptr) return;
  RunEntry* run = device->active;
  if (run == nullptr || run->run.run_id() != progress.run_id() || LastAttempt(run->run) != progress.attempt()) return;
  run->heard_at = turn.steady();
  if (run->job->watchers > 0) turn.PublishProgress(run->job->job.job_id(), std::move(progress));
}

void SessionDesk::AssignmentRejected(Turn& turn, SessionId session, const v1::AssignmentRejected& rejected) {
  DeviceEntry* device = Touch(turn, session);
  if (device == nullptr) return;
  RunEntry* run = device->active;
  // Only what is assigned can be refused: a refusal of an attempt that has begun meanwhile means a second copy of it.
  if (run == nullptr || run->run.run_id() != rejected.run_id() || LastAttempt(run->run) != rejected.attempt() ||
      run->run.state() != v1::Run::ASSIGNED) {
    return;
  }
  // A refusal answers one sending. Another that is still on its way may be carried out.
  if (run->unanswered_sends > 0) --run->unanswered_sends;
  if (run->unanswered_sends > 0) return;
  switch (rejected.outcome()) {
    case v1::INVALID:
    case v1::ENVIRONMENT_REFUSED:
      scheduler_->Refused(turn, device, rejected.outcome(), rejected.reason());
      return;
    default:
      device->blocked_until = turn.steady() + kBusyRetry;
      scheduler_->TakeBack(turn, device);
  }
}

}  // namespace ballast::core
