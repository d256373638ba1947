#include "coordinator/core/wait_reasons.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "coordinator/core/listed.h"
#include "coordinator/core/utc_text.h"

namespace ballast::core {
namespace {

constexpr int kMostReasons = 16;

std::string Text(const google::protobuf::Timestamp& time) {
  return UtcText(base::FromProto(time));
}

v1::WaitReason Reason(v1::WaitReason::Kind kind, const DeviceEntry* device, std::string message) {
  v1::WaitReason reason;
  reason.set_kind(kind);
  if (device != nullptr) reason.set_device_id(device->device.device_id());
  reason.set_message(std::move(message));
  return reason;
}

std::string RunOf(const RunEntry& run) {
  const std::string& submitter = run.job->job.submitter();
  return submitter.empty() ? fmt::format("run {}", run.run.run_id())
                           : fmt::format("run {} of {}", run.run.run_id(), submitter);
}

// How soon a device with this obstacle may take a run, soonest first, and what is said of several.
struct KindWord {
  v1::WaitReason::Kind kind;
  const char* word;
};
constexpr KindWord kSoonestFirst[] = {
    {v1::WaitReason::QUEUED_BEHIND, "taken by runs that go before"},
    {v1::WaitReason::DEVICE_BUSY, "busy"},
    {v1::WaitReason::DEVICE_COOLING_DOWN, "at rest after a run"},
    {v1::WaitReason::DEVICE_REFUSED, "to be asked again"},
    {v1::WaitReason::DEVICE_RESERVED, "reserved for others"},
    {v1::WaitReason::DEVICE_QUARANTINED, "in quarantine"},
    {v1::WaitReason::DEVICE_DRAINED, "drained"},
    {v1::WaitReason::DEVICE_OFFLINE, "not connected"},
};

}  // namespace

std::optional<v1::WaitReason> WaitReasons::At(DeviceEntry* device, const JobEntry& job, const Instant& now) const {
  const std::string& name = device->device.device_id();
  const auto timed = [&](v1::WaitReason reason, std::chrono::nanoseconds at) {
    *reason.mutable_until_time() = base::ToProto(now.wall + std::max(at - now.steady, std::chrono::nanoseconds(0)));
    return reason;
  };
  if (!device->online()) {
    return Reason(v1::WaitReason::DEVICE_OFFLINE, device,
                  device->device.has_state_time()
                      ? fmt::format("device {} is not connected, since {}", name, Text(device->device.state_time()))
                      : fmt::format("device {} is not connected", name));
  }
  if (device->device.drained()) {
    return Reason(v1::WaitReason::DEVICE_DRAINED, device,
                  fmt::format("device {} is drained (ballast devices resume {})", name, name));
  }
  const bool is_check = job.job.health_check_device_id() == name;
  if (device->quarantined() && !is_check) {
    return Reason(v1::WaitReason::DEVICE_QUARANTINED, device,
                  fmt::format("device {} is in quarantine since {}: {}", name,
                              Text(device->device.health().quarantine_time()), device->device.health().reason()));
  }
  const v1::Reservation* reservation = device->ReservationAt(now.wall);
  if (reservation != nullptr && reservation->holder() != job.job.submitter() && !is_check) {
    v1::WaitReason reason = Reason(v1::WaitReason::DEVICE_RESERVED, device,
                                   fmt::format("device {} is reserved for {} until {}", name, reservation->holder(),
                                               Text(reservation->end_time())));
    *reason.mutable_until_time() = reservation->end_time();
    return reason;
  }
  if (job.AtLimit()) {
    return Reason(v1::WaitReason::JOB_LIMIT, nullptr,
                  fmt::format("{} of its runs go on, as many as max_parallel_runs allows", job.active));
  }
  const Choice first = queue_->Next(device, now);
  const bool behind = first.run != nullptr && first.run->job != &job;
  if (behind) {
    return Reason(v1::WaitReason::QUEUED_BEHIND, device,
                  fmt::format("{} goes before it on device {}", RunOf(*first.run), name));
  }
  if (device->active != nullptr) {
    return Reason(v1::WaitReason::DEVICE_BUSY, device,
                  fmt::format("device {} carries out {}", name, RunOf(*device->active)));
  }
  if (device->occupied) {
    return Reason(v1::WaitReason::DEVICE_BUSY, device,
                  fmt::format("device {} has yet to end run {}", name, device->occupied->run_id));
  }
  if (device->blocked_until) {
    return timed(Reason(v1::WaitReason::DEVICE_REFUSED, device,
                        fmt::format("device {} refused a run because it was busy, and is asked again", name)),
                 *device->blocked_until);
  }
  if (device->cool_until) {
    return timed(
        Reason(v1::WaitReason::DEVICE_COOLING_DOWN, device,
               fmt::format("device {} rests after a run until {}", name, Text(device->device.cool_down_until_time()))),
        *device->cool_until);
  }
  const std::uint32_t bound = state_->options().scheduling.max_parallel_runs;
  if (bound > 0 && state_->active_runs >= bound) {
    return Reason(v1::WaitReason::FLEET_LIMIT, nullptr,
                  fmt::format("{} runs go on in the fleet, as many as the coordinator allows", state_->active_runs));
  }
  return std::nullopt;
}

std::optional<v1::WaitReason> WaitReasons::AtAny(Lane* lane, const Instant& now) const {
  std::map<v1::WaitReason::Kind, std::vector<v1::WaitReason>> found;
  std::size_t devices = 0;
  for (const auto& [device_id, device] : lane->pool->members) {
    if (RunQueue::FirstFor(lane, *device) == nullptr) continue;
    ++devices;
    std::optional<v1::WaitReason> reason = At(device, *lane->job, now);
    if (!reason) return std::nullopt;
    // A bound holds whatever the device.
    if (reason->device_id().empty()) return reason;
    found[reason->kind()].push_back(*std::move(reason));
  }
  if (devices == 0) {
    return Reason(v1::WaitReason::DEVICE_OFFLINE, nullptr,
                  "no device is left for it: it waits for one that matches and has not had a run of the repetition "
                  "(ballast devices list)");
  }
  if (devices == 1) return found.begin()->second.front();
  std::vector<std::string> parts;
  v1::WaitReason reason;
  for (const KindWord& kind : kSoonestFirst) {
    const auto of_kind = found.find(kind.kind);
    if (of_kind == found.end()) continue;
    if (parts.empty()) reason.set_kind(kind.kind);
    parts.push_back(fmt::format("{} {}", of_kind->second.size(), kind.word));
    for (const v1::WaitReason& one : of_kind->second) {
      if (one.has_until_time() &&
          (!reason.has_until_time() || base::FromProto(one.until_time()) < base::FromProto(reason.until_time()))) {
        *reason.mutable_until_time() = one.until_time();
      }
    }
  }
  reason.set_message(fmt::format("of {} devices that it may go to, {}", devices, Listed(parts)));
  return reason;
}

void WaitReasons::Fill(const JobEntry& entry, const Instant& now, v1::Job* job) const {
  job->clear_wait_reasons();
  std::map<std::pair<v1::WaitReason::Kind, std::string>, v1::WaitReason> reasons;
  for (const auto& [number, lane] : entry.lanes) {
    std::optional<v1::WaitReason> reason =
        lane->pool->device != nullptr ? At(lane->pool->device, entry, now) : AtAny(lane.get(), now);
    if (!reason) continue;
    v1::WaitReason& known = reasons[{reason->kind(), reason->device_id()}];
    const std::uint32_t before = known.run_count();
    if (before == 0) known = *std::move(reason);
    known.set_run_count(before + static_cast<std::uint32_t>(lane->runs.size()));
  }
  std::vector<const v1::WaitReason*> order;
  for (const auto& [key, reason] : reasons) order.push_back(&reason);
  std::ranges::stable_sort(order, std::greater<>(), [](const v1::WaitReason* reason) { return reason->run_count(); });
  for (const v1::WaitReason* reason : order) {
    if (job->wait_reasons_size() < kMostReasons) *job->add_wait_reasons() = *reason;
  }
}

}  // namespace ballast::core
