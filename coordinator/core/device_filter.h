// What a device must be for a job, whatever state it is in.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "coordinator/core/label_expression.h"

namespace ballast::core {

// `did you mean 'x'?` for a name and the names there are, or nothing.
using DidYouMean = std::function<std::string(const std::string&, const std::vector<std::string>&)>;

// The conditions of a selector, and what a workload needs. Immutable and copyable; without conditions it matches every
// device.
class DeviceFilter {
 public:
  DeviceFilter() = default;
  // INVALID_ARGUMENT where the selector's expression cannot be read.
  [[nodiscard]] static absl::StatusOr<DeviceFilter> Make(const v1::DeviceSelector& selector,
                                                         const v1::Workload& workload);

  // Whether the selector names the device.
  [[nodiscard]] bool Selects(const v1::Device& device) const;
  // What the device lacks for the workload, as a sentence; empty where it can do it. `did_you_mean` may be empty.
  [[nodiscard]] std::string Lack(const v1::Device& device, const DidYouMean& did_you_mean = {}) const;
  [[nodiscard]] bool Matches(const v1::Device& device) const { return Selects(device) && Lack(device).empty(); }

  [[nodiscard]] const std::map<std::string, std::string>& labels() const { return labels_; }
  [[nodiscard]] const std::set<std::string>& device_ids() const { return device_ids_; }
  [[nodiscard]] const std::optional<LabelExpression>& expression() const { return expression_; }

 private:
  std::map<std::string, std::string> labels_;
  std::set<std::string> device_ids_;
  std::optional<LabelExpression> expression_;
  std::optional<v1::Capability> needed_;
  std::string command_id_;
};

}  // namespace ballast::core
