#include "coordinator/core/health_desk.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"

namespace ballast::core {
namespace {

constexpr char kCheckSubmitter[] = "ballast";

bool IsInfrastructureFailure(v1::OutcomeKind kind) {
  return kind == v1::WORKER_CRASHED || kind == v1::DEVICE_REBOOTED || kind == v1::DEVICE_LOST;
}

}  // namespace

void HealthDesk::NoteAttempt(Turn& turn, DeviceEntry* device, const RunEntry& run) {
  const v1::Attempt& attempt = run.run.attempts(run.run.attempts_size() - 1);
  const v1::Outcome& outcome = attempt.result().outcome();
  // What got a soak on for some cycles was no failure from the start.
  const bool got_on = !attempt.result().cycles().empty();
  if (got_on || !IsInfrastructureFailure(outcome.kind())) {
    // The coordinator's own word for an end says nothing of the device.
    const bool said = got_on || !attempt.given_up();
    if (said && device->device.health().failure_count() > 0) device->device.mutable_health()->clear_failure_count();
    return;
  }
  v1::DeviceHealth& health = *device->device.mutable_health();
  health.set_failure_count(health.failure_count() + 1);
  const std::uint32_t bound = state_->options().scheduling.quarantine_after;
  if (device->quarantined() || bound == 0 || health.failure_count() < bound) return;
  *health.mutable_quarantine_time() = base::ToProto(turn.wall());
  health.set_reason(fmt::format("{} attempts in a row failed, the last of run {} as {}: {}", health.failure_count(),
                                run.run.run_id(), v1::OutcomeKind_Name(outcome.kind()), outcome.message()));
  health.clear_failed_check_count();
  health.clear_check_job_id();
  Plan(turn, device, Interval(*device));
}

void HealthDesk::NoteJobEnd(Turn& turn, const v1::Job& job) {
  if (job.health_check_device_id().empty()) return;
  DeviceEntry* device = state_->FindDevice(job.health_check_device_id());
  if (device == nullptr || !device->quarantined() || device->device.health().check_job_id() != job.job_id()) return;
  if (job.state() == v1::Job::FINISHED && job.expected_run_count() == job.run_count()) {
    Clear(turn, device);
    return;
  }
  v1::DeviceHealth& health = *device->device.mutable_health();
  if (job.state() == v1::Job::FINISHED) health.set_failed_check_count(health.failed_check_count() + 1);
  Plan(turn, device, Interval(*device));
}

void HealthDesk::CheckSubmitted(Turn& turn, DeviceEntry* device, const std::string& job_id) {
  if (!device->quarantined()) return;
  device->device.mutable_health()->set_check_job_id(job_id);
  // It was there already and has ended meanwhile, which must have been noticed: another is due.
  if (state_->FindJob(job_id) == nullptr) {
    Plan(turn, device, Interval(*device));
    return;
  }
  device->device.mutable_health()->clear_next_check_time();
  device->next_check.reset();
  turn.Changed(device);
}

void HealthDesk::CheckRefused(Turn& turn, const std::string& device_id, const std::string& reason) {
  DeviceEntry* device = state_->FindDevice(device_id);
  if (device == nullptr || !device->quarantined() || !device->next_check) return;
  v1::DeviceHealth& health = *device->device.mutable_health();
  const std::string remark = fmt::format("; its self-test cannot be submitted: {}", reason);
  // Said once: it will be the same the next time.
  if (health.reason().find("; its self-test") == std::string::npos) health.mutable_reason()->append(remark);
  Plan(turn, device, Interval(*device));
}

void HealthDesk::Clear(Turn& turn, DeviceEntry* device) {
  if (device->quarantined() || device->device.health().failure_count() > 0) turn.Changed(device);
  const std::string last = device->device.health().check_job_id();
  device->device.clear_health();
  if (!last.empty()) device->device.mutable_health()->set_check_job_id(last);
  device->next_check.reset();
}

std::chrono::nanoseconds HealthDesk::Interval(const DeviceEntry& device) const {
  std::chrono::nanoseconds interval = state_->options().scheduling.health_check_interval;
  for (std::uint32_t i = 0; i < device.device.health().failed_check_count() && interval < kLongestCheckInterval; ++i) {
    interval *= 2;
  }
  return std::min(interval, kLongestCheckInterval);
}

void HealthDesk::Plan(Turn& turn, DeviceEntry* device, std::chrono::nanoseconds after) {
  turn.Changed(device);
  if (state_->options().scheduling.health_check.workload().kind_case() == v1::Workload::KIND_NOT_SET) return;
  *device->device.mutable_health()->mutable_next_check_time() = base::ToProto(turn.wall() + after);
  device->next_check = turn.steady() + after;
}

bool HealthDesk::MayCheck(const DeviceEntry& device) {
  return device.quarantined() && device.next_check && device.online() && !device.device.drained();
}

void HealthDesk::CheckTime(Turn& turn, DeviceEntry* device) {
  if (!MayCheck(*device) || turn.steady() < *device->next_check) return;
  const std::string& device_id = device->device.device_id();
  WantJob want;
  want.origin.health_check_device_id = device_id;
  want.spec = state_->options().scheduling.health_check;
  want.spec.clear_devices();
  want.spec.mutable_devices()->add_device_ids(device_id);
  want.spec.set_display_name(fmt::format("self-test of {}", device_id).substr(0, 128));
  // The same for what is wanted again, and no other.
  want.request_id = fmt::format("ballast:self-test:{}:{}", device_id,
                                base::FromProto(device->device.health().next_check_time()).time_since_epoch().count());
  want.submitter = kCheckSubmitter;
  turn.Want(std::move(want));
  device->next_check = turn.steady() + kWantAgain;
}

void HealthDesk::Restore(const Instant& now, DeviceEntry* device) {
  if (!device->quarantined() || !device->device.health().has_next_check_time()) return;
  const std::chrono::nanoseconds left = base::FromProto(device->device.health().next_check_time()) - now.wall;
  device->next_check = now.steady + std::clamp(left, std::chrono::nanoseconds(0), kLongestCheckInterval);
}

}  // namespace ballast::core
