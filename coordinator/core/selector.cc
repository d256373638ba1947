#include "coordinator/core/selector.h"

#include <cstdint>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "coordinator/core/listed.h"

namespace ballast::core {
namespace {

// `; did you mean 'x'?`, or `; NOUN: a, b, c` where nothing is near.
std::string Suggestion(const CoreOptions& options, const std::string& name, const std::vector<std::string>& candidates,
                       std::string_view noun) {
  std::string near = options.did_you_mean ? options.did_you_mean(name, candidates) : std::string();
  if (!near.empty()) return "; " + near;
  return candidates.empty() ? std::string() : fmt::format("; {}: {}", noun, Listed(candidates));
}

std::vector<std::string> DeviceNames(const std::map<std::string, DeviceEntry>& devices) {
  std::vector<std::string> names;
  names.reserve(devices.size());
  for (const auto& [device_id, entry] : devices) names.push_back(device_id);
  return names;
}

// For people: `d-1 (host)`.
std::vector<std::string> DescribedDevices(const std::map<std::string, DeviceEntry>& devices) {
  std::vector<std::string> names;
  for (const auto& [device_id, entry] : devices) {
    const std::string& host = entry.device.facts().hostname();
    names.push_back(host.empty() ? device_id : fmt::format("{} ({})", device_id, host));
  }
  return names;
}

absl::Status CheckLabelExists(const CoreOptions& options, const std::map<std::string, DeviceEntry>& devices,
                              const std::string& key, const std::string& value) {
  std::set<std::string> keys;
  std::set<std::string> values;
  for (const auto& [device_id, entry] : devices) {
    for (const auto& [device_key, device_value] : entry.device.labels()) {
      keys.insert(device_key);
      if (device_key == key) values.insert(device_value);
    }
  }
  if (values.contains(value)) return absl::OkStatus();
  if (values.empty()) {
    return absl::NotFoundError(
        fmt::format("no device has a label '{}'{}", key,
                    keys.empty() ? "; no device has any label"
                                 : Suggestion(options, key, {keys.begin(), keys.end()}, "labels in use")));
  }
  return absl::NotFoundError(
      fmt::format("no device has the label {}={}{}", key, value,
                  Suggestion(options, value, {values.begin(), values.end()}, fmt::format("values of '{}'", key))));
}

// What keeps the device from the job; empty where nothing does.
std::string Obstacle(const CoreOptions& options, const DeviceEntry& entry, const DeviceFilter& filter) {
  const v1::Device& device = entry.device;
  if (std::string lack = filter.Lack(device, options.did_you_mean); !lack.empty()) return lack;
  const std::string& name = device.device_id();
  if (device.drained()) return fmt::format("device {} is drained (ballast devices resume {})", name, name);
  if (entry.quarantined()) {
    return fmt::format("device {} is in quarantine, {} (ballast devices resume {}, or wait for its self-test)", name,
                       device.health().reason(), name);
  }
  return {};
}

// That the labels an expression asks for are in use somewhere: otherwise they are mistyped.
absl::Status CheckNames(const CoreOptions& options, const std::map<std::string, DeviceEntry>& devices,
                        const LabelExpression& expression) {
  std::set<std::string> known;
  for (const auto& [device_id, entry] : devices) {
    for (const auto& [key, value] : entry.device.labels()) known.insert(key);
  }
  for (const std::string& name : expression.WantedLabels()) {
    if (known.contains(name)) continue;
    std::vector<std::string> candidates = FactNames();
    candidates.insert(candidates.begin(), known.begin(), known.end());
    return absl::NotFoundError(fmt::format("devices.expression: no device has a label '{}', and it is no fact{}", name,
                                           Suggestion(options, name, candidates, "there are")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<DeviceEntry*>> MatchingDevices(State* state, const v1::DeviceSelector& selector,
                                                          const DeviceFilter& filter) {
  auto& devices = state->devices();
  if (devices.empty()) {
    return absl::FailedPreconditionError("no device has connected to this coordinator yet; start a ballast-worker");
  }
  const bool empty = selector.labels().empty() && selector.device_ids().empty() && selector.expression().empty() &&
                     selector.count() == 0 && !selector.all();
  if (empty && devices.size() > 1) {
    return absl::FailedPreconditionError(fmt::format(
        "there are {} devices and the job does not say which: {}; choose by label or identifier, or all of them",
        devices.size(), Listed(DescribedDevices(devices))));
  }
  for (const std::string& device_id : selector.device_ids()) {
    if (devices.contains(device_id)) continue;
    return absl::NotFoundError(fmt::format("no device '{}'{}", device_id,
                                           Suggestion(state->options(), device_id, DeviceNames(devices), "devices")));
  }
  for (const auto& [key, value] : filter.labels()) {
    BALLAST_RETURN_IF_ERROR(CheckLabelExists(state->options(), devices, key, value));
  }
  if (filter.expression()) BALLAST_RETURN_IF_ERROR(CheckNames(state->options(), devices, *filter.expression()));
  std::vector<DeviceEntry*> matching;
  for (auto& [device_id, entry] : devices) {
    if (filter.Selects(entry.device)) matching.push_back(&entry);
  }
  if (matching.empty()) {
    return absl::FailedPreconditionError("no device matches every condition of the selector at once");
  }
  return matching;
}

std::string WorkloadKind(const v1::Workload& workload) {
  const google::protobuf::OneofDescriptor* kinds = v1::Workload::descriptor()->FindOneofByName("kind");
  const google::protobuf::FieldDescriptor* kind = workload.GetReflection()->GetOneofFieldDescriptor(workload, kinds);
  return kind == nullptr ? std::string() : kind->name();
}

absl::StatusOr<std::vector<std::string>> SelectDevices(State* state, const v1::JobSpec& spec) {
  BALLAST_ASSIGN_OR_RETURN(const DeviceFilter filter, DeviceFilter::Make(spec.devices(), spec.workload()));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<DeviceEntry*> matching, MatchingDevices(state, spec.devices(), filter));
  std::vector<std::string> chosen;
  std::vector<std::string> obstacles;
  std::uint32_t able = 0;
  for (const DeviceEntry* entry : matching) {
    if (filter.Lack(entry->device).empty()) ++able;
    std::string obstacle = Obstacle(state->options(), *entry, filter);
    if (obstacle.empty()) {
      chosen.push_back(entry->device.device_id());
    } else {
      obstacles.push_back(std::move(obstacle));
    }
  }
  const std::uint32_t count = spec.devices().count();
  // Who names a device wants that one; who names a label, or a number of devices, wants those that can.
  if (chosen.empty() || (!obstacles.empty() && !spec.devices().device_ids().empty() && count == 0)) {
    return absl::FailedPreconditionError(fmt::format("the job cannot run: {}", Listed(obstacles, "; ")));
  }
  // One that cannot take a run now may be able to later.
  if (able < count) {
    return absl::FailedPreconditionError(fmt::format("the job wants {} devices, and {} can do it{}{}", count, able,
                                                     obstacles.empty() ? "" : ": ", Listed(obstacles, "; ")));
  }
  return chosen;
}

}  // namespace ballast::core
