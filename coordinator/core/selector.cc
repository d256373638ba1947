#include "coordinator/core/selector.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/status.h"

namespace ballast::core {
namespace {

// How many names an error lists; a fleet has thousands.
constexpr std::size_t kMaxListed = 10;

std::string Listed(const std::vector<std::string>& names, std::string_view separator = ", ") {
  const std::size_t shown = std::min(names.size(), kMaxListed);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), separator));
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

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

std::vector<v1::Capability> NeededCapabilities(const v1::JobSpec& spec) {
  std::vector<v1::Capability> needed;
  switch (spec.workload().kind_case()) {
    case v1::Workload::kPressure:
      needed.push_back(v1::WORKLOAD_PRESSURE);
      break;
    case v1::Workload::kModel:
      needed.push_back(v1::WORKLOAD_MODEL);
      break;
    case v1::Workload::kQuantization:
      needed.push_back(v1::WORKLOAD_QUANTIZATION);
      break;
    case v1::Workload::kStability:
      needed.push_back(v1::WORKLOAD_STABILITY);
      break;
    case v1::Workload::kCapacity:
      needed.push_back(v1::WORKLOAD_CAPACITY);
      break;
    case v1::Workload::kCommand:
      needed.push_back(v1::WORKLOAD_COMMAND);
      break;
    case v1::Workload::KIND_NOT_SET:
      break;
  }
  // An environment is the device's to refuse: only it can say what is in the way, and that is a result.
  return needed;
}

// Why the device does not have the command; empty where it does, or none is needed.
std::string CommandObstacle(const CoreOptions& options, const v1::Device& device, const v1::Workload& workload) {
  if (!workload.has_command()) return {};
  const std::string& command_id = workload.command().command_id();
  const std::vector<std::string> known(device.facts().command_ids().begin(), device.facts().command_ids().end());
  if (std::find(known.begin(), known.end(), command_id) != known.end()) return {};
  const std::string near =
      options.did_you_mean && !known.empty() ? options.did_you_mean(command_id, known) : std::string();
  return fmt::format("the configuration of device {} names no command '{}' ({})", device.device_id(), command_id,
                     known.empty()  ? "it names none"
                     : near.empty() ? "it names " + Listed(known)
                                    : near);
}

// What keeps the device from the job; empty where nothing does.
std::string Obstacle(const CoreOptions& options, const v1::Device& device, const v1::Workload& workload,
                     const std::vector<v1::Capability>& needed) {
  for (const v1::Capability capability : needed) {
    const auto& has = device.facts().capabilities();
    if (std::find(has.begin(), has.end(), capability) == has.end()) {
      return fmt::format("device {} lacks {}", device.device_id(), v1::Capability_Name(capability));
    }
  }
  if (std::string obstacle = CommandObstacle(options, device, workload); !obstacle.empty()) return obstacle;
  if (device.drained()) return fmt::format("device {} is drained; resume it first", device.device_id());
  return {};
}

// The devices that match the conditions, before capabilities are looked at.
absl::StatusOr<std::vector<DeviceEntry*>> Matching(State* state, const v1::DeviceSelector& selector) {
  auto& devices = state->devices();
  if (devices.empty()) {
    return absl::FailedPreconditionError("no device has connected to this coordinator yet; start a ballast-worker");
  }
  const bool empty = selector.labels().empty() && selector.device_ids().empty() && !selector.all();
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
  // In order, so that the same mistake always gets the same answer.
  const std::map<std::string, std::string> labels(selector.labels().begin(), selector.labels().end());
  for (const auto& [key, value] : labels) {
    BALLAST_RETURN_IF_ERROR(CheckLabelExists(state->options(), devices, key, value));
  }
  const std::set<std::string> ids(selector.device_ids().begin(), selector.device_ids().end());
  std::vector<DeviceEntry*> matching;
  for (auto& [device_id, entry] : devices) {
    if (!ids.empty() && !ids.contains(device_id)) continue;
    const bool has_labels = std::all_of(labels.begin(), labels.end(), [&entry = entry](const auto& label) {
      const auto it = entry.device.labels().find(label.first);
      return it != entry.device.labels().end() && it->second == label.second;
    });
    if (has_labels) matching.push_back(&entry);
  }
  if (matching.empty()) {
    return absl::FailedPreconditionError("no device matches every condition of the selector at once");
  }
  return matching;
}

}  // namespace

std::string WorkloadKind(const v1::Workload& workload) {
  const google::protobuf::OneofDescriptor* kinds = v1::Workload::descriptor()->FindOneofByName("kind");
  const google::protobuf::FieldDescriptor* kind = workload.GetReflection()->GetOneofFieldDescriptor(workload, kinds);
  return kind == nullptr ? std::string() : kind->name();
}

absl::StatusOr<std::vector<std::string>> SelectDevices(State* state, const v1::JobSpec& spec) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<DeviceEntry*> matching, Matching(state, spec.devices()));
  const std::vector<v1::Capability> needed = NeededCapabilities(spec);
  std::vector<std::string> chosen;
  std::vector<std::string> obstacles;
  for (const DeviceEntry* entry : matching) {
    std::string obstacle = Obstacle(state->options(), entry->device, spec.workload(), needed);
    if (obstacle.empty()) {
      chosen.push_back(entry->device.device_id());
    } else {
      obstacles.push_back(std::move(obstacle));
    }
  }
  // Who names a device wants that one; who names a label wants those that can.
  if (chosen.empty() || (!obstacles.empty() && !spec.devices().device_ids().empty())) {
    return absl::FailedPreconditionError(fmt::format("the job cannot run: {}", Listed(obstacles, "; ")));
  }
  return chosen;
}

}  // namespace ballast::core
