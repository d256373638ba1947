// Labels of devices: what a worker says of itself, overlaid by what users say of it.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/device.pb.h"
#include "common/base/label.h"

namespace ballast::core {

using base::CheckLabel;
// A user may have set or hidden as many on a device as it may have.
using base::kMaxLabels;

// Sets Device.labels from the worker's labels and the device's overrides. INVALID_ARGUMENT where they are more than
// kMaxLabels together and more than there were; nothing was changed then.
[[nodiscard]] absl::Status MergeLabels(const std::map<std::string, std::string>& worker_labels, v1::Device* device);

// Applies a user's changes to the overrides, and merges. INVALID_ARGUMENT: a label that is both set and removed, empty
// values, bad keys, too many; nothing was changed then.
[[nodiscard]] absl::Status ChangeLabels(const v1::LabelDeviceRequest& request,
                                        const std::map<std::string, std::string>& worker_labels, v1::Device* device);

}  // namespace ballast::core
