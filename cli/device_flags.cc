#include "cli/device_flags.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/status.h"
#include "common/config/field_text.h"

namespace ballast::cli {

void AddDeviceFlags(CLI::App* command, DeviceFlags* flags) {
  command->add_option("--on", flags->on, "Devices with these labels")
      ->type_name("LABEL=VALUE")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_option("--device", flags->devices, "This device; may be repeated")
      ->type_name("ID")
      ->group("Where")
      ->allow_extra_args(false);
  command->add_flag("--all", flags->all, "Every device")->group("Where");
}

absl::Status FillDevices(const DeviceFlags& flags, v1::DeviceSelector* selector) {
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParsePairs("--on", flags.on));
  for (const auto& [label, value] : labels) (*selector->mutable_labels())[label] = value;
  for (const std::string& device : flags.devices) {
    const absl::Status status = config::SetField(selector, "device_ids", device);
    if (!status.ok()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("--device: {}", std::string(status.message()))),
                          "--device ID; ballast devices list shows them");
    }
  }
  if (flags.all) selector->set_all(true);
  return absl::OkStatus();
}

}  // namespace ballast::cli
