#include "coordinator/core/device_filter.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "coordinator/core/listed.h"

namespace ballast::core {
namespace {

// An environment is the device's to refuse: only it can say what is in the way, and that is a result.
std::optional<v1::Capability> NeededCapability(const v1::Workload& workload) {
  switch (workload.kind_case()) {
    case v1::Workload::kPressure:
      return v1::WORKLOAD_PRESSURE;
    case v1::Workload::kModel:
      return v1::WORKLOAD_MODEL;
    case v1::Workload::kQuantization:
      return v1::WORKLOAD_QUANTIZATION;
    case v1::Workload::kStability:
      return v1::WORKLOAD_STABILITY;
    case v1::Workload::kCapacity:
      return v1::WORKLOAD_CAPACITY;
    case v1::Workload::kCommand:
      return v1::WORKLOAD_COMMAND;
    case v1::Workload::KIND_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<DeviceFilter> DeviceFilter::Make(const v1::DeviceSelector& selector, const v1::Workload& workload) {
  DeviceFilter filter;
  filter.labels_ = {selector.labels().begin(), selector.labels().end()};
  filter.device_ids_ = {selector.device_ids().begin(), selector.device_ids().end()};
  if (!selector.expression().empty()) {
    absl::StatusOr<LabelExpression> expression = LabelExpression::Parse(selector.expression());
    if (!expression.ok()) {
      return base::WithContext(expression.status(),
                               fmt::format("devices.expression {}", base::Quoted(selector.expression())));
    }
    filter.expression_ = *std::move(expression);
  }
  filter.needed_ = NeededCapability(workload);
  if (workload.has_command()) filter.command_id_ = workload.command().command_id();
  return filter;
}

bool DeviceFilter::Selects(const v1::Device& device) const {
  if (!device_ids_.empty() && !device_ids_.contains(device.device_id())) return false;
  const bool has_labels = std::ranges::all_of(labels_, [&](const auto& label) {
    const auto it = device.labels().find(label.first);
    return it != device.labels().end() && it->second == label.second;
  });
  return has_labels && (!expression_ || expression_->Matches(device));
}

std::string DeviceFilter::Lack(const v1::Device& device, const DidYouMean& did_you_mean) const {
  if (needed_) {
    const auto& has = device.facts().capabilities();
    if (std::find(has.begin(), has.end(), *needed_) == has.end()) {
      return fmt::format("device {} lacks {}", device.device_id(), v1::Capability_Name(*needed_));
    }
  }
  if (!command_id_.empty()) {
    const std::vector<std::string> known(device.facts().command_ids().begin(), device.facts().command_ids().end());
    if (std::find(known.begin(), known.end(), command_id_) == known.end()) {
      const std::string near = did_you_mean && !known.empty() ? did_you_mean(command_id_, known) : std::string();
      return fmt::format("the configuration of device {} names no command '{}' ({})", device.device_id(), command_id_,
                         known.empty()  ? "it names none"
                         : near.empty() ? "it names " + Listed(known)
                                        : near);
    }
  }
  return {};
}

}  // namespace ballast::core
