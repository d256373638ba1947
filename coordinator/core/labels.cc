#include "coordinator/core/labels.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::core {

absl::Status MergeLabels(const std::map<std::string, std::string>& worker_labels, v1::Device* device) {
  std::map<std::string, std::string> merged = worker_labels;
  for (const auto& [key, value] : device->label_overrides()) {
    if (value.empty()) {
      merged.erase(key);
    } else {
      merged[key] = value;
    }
  }
  if (merged.size() > std::max(kMaxLabels, device->labels().size())) {
    return absl::InvalidArgumentError(fmt::format(
        "device {} would have {} labels, its worker's and those that users set; it may have {}: remove some",
        device->device_id(), merged.size(), kMaxLabels));
  }
  auto& labels = *device->mutable_labels();
  labels.clear();
  for (const auto& [key, value] : merged) labels[key] = value;
  return absl::OkStatus();
}

absl::Status ChangeLabels(const v1::LabelDeviceRequest& request,
                          const std::map<std::string, std::string>& worker_labels, v1::Device* device) {
  for (const auto& [key, value] : request.set()) {
    BALLAST_RETURN_IF_ERROR(CheckLabel(key, value));
    if (value.empty()) {
      return absl::InvalidArgumentError(fmt::format("label '{}': the value is empty; remove the label instead", key));
    }
  }
  for (const std::string& key : request.remove()) {
    // One that was set under looser rules can go.
    if (!device->label_overrides().contains(key)) BALLAST_RETURN_IF_ERROR(CheckLabel(key, ""));
    if (request.set().contains(key)) {
      return absl::InvalidArgumentError(fmt::format("label '{}' is both set and removed", key));
    }
  }
  const auto before = device->label_overrides();
  auto& overrides = *device->mutable_label_overrides();
  for (const auto& [key, value] : request.set()) overrides[key] = value;
  for (const std::string& key : request.remove()) {
    // The worker will say its own labels again each time it connects: hiding one must be remembered.
    if (worker_labels.contains(key)) {
      overrides[key] = "";
    } else {
      overrides.erase(key);
    }
  }
  absl::Status status;
  if (overrides.size() > std::max(kMaxLabels, before.size())) {
    status = absl::InvalidArgumentError(
        fmt::format("device {} would have {} labels set or hidden by users; it may have {}: remove some",
                    device->device_id(), overrides.size(), kMaxLabels));
  } else {
    status = MergeLabels(worker_labels, device);
  }
  if (!status.ok()) overrides = before;
  return status;
}

}  // namespace ballast::core
