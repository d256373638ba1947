#include "cli/device_flags.h"

#include <cstddef>

#include <fmt/format.h>

#include "ballast/v1/device.pb.h"
#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

// Whether a text of --on is a list of labels with their values, and not an expression: what a fact is called needs one.
bool IsLabelList(const std::string& text) {
  for (const std::string& part : SplitList(text)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0 ||
        part.find_first_of("!<>=()|\"", equals + 1) != std::string::npos ||
        part.substr(0, equals).find_first_of("!<>()|\" ") != std::string::npos) {
      return false;
    }
    if (v1::DeviceFacts::descriptor()->FindFieldByName(part.substr(0, equals)) != nullptr) return false;
  }
  return true;
}

}  // namespace

void AddDeviceFlags(CLI::App* command, DeviceFlags* flags) {
  command
      ->add_option("--on", flags->on,
                   "Devices with these labels, or that satisfy this expression over labels and facts")
      ->type_name("LABEL=VALUE|EXPR")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_option("--device", flags->devices, "This device; may be repeated")
      ->type_name("ID")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_flag("--all", flags->all, "Every device")->group("Where");
  command->add_option("--count", flags->count, "So many of them, whichever are free first")
      ->type_name("N")
      ->group("Where");
}

bool ChoosesDevices(const v1::DeviceSelector& selector) {
  return selector.ByteSizeLong() > 0;
}

absl::Status FillDevices(const DeviceFlags& flags, v1::DeviceSelector* selector) {
  std::vector<std::string> lists;
  for (const std::string& text : flags.on) {
    if (IsLabelList(text) || text.find_first_of("=!<>() \"") == std::string::npos) {
      lists.push_back(text);
      continue;
    }
    // Several must all be satisfied; one with alternatives cannot be joined to others.
    if (!selector->expression().empty() &&
        (text.find("||") != std::string::npos || selector->expression().find("||") != std::string::npos)) {
      return WithNextStep(absl::InvalidArgumentError("--on: an expression with || stands alone"),
                          "write all of it in one --on");
    }
    if (!selector->expression().empty()) selector->mutable_expression()->append(", ");
    selector->mutable_expression()->append(text);
  }
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParsePairs("--on", lists));
  for (const auto& [label, value] : labels) (*selector->mutable_labels())[label] = value;
  for (const std::string& device : flags.devices) {
    const absl::Status status = config::SetField(selector, "device_ids", device);
    if (!status.ok()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("--device: {}", std::string(status.message()))),
                          "--device ID; ballast devices list shows them");
    }
  }
  if (flags.all) selector->set_all(true);
  if (!flags.count.empty()) {
    const absl::Status status = config::SetField(selector, "count", flags.count);
    if (!status.ok() || selector->count() == 0) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format(
                              "--count: {}", status.ok() ? "must be at least 1" : std::string(status.message()))),
                          "--count 2");
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast::cli
