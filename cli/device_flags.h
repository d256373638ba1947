// Flags that choose devices.
#pragma once

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"

namespace ballast::cli {

// The values as they were written.
struct DeviceFlags {
  std::vector<std::string> on{};
  std::vector<std::string> devices{};
  bool all = false;
  std::string count{};
};

// --on, --device, --all and --count.
void AddDeviceFlags(CLI::App* command, DeviceFlags* flags);

// Sets what was given. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillDevices(const DeviceFlags& flags, v1::DeviceSelector* selector);

// Whether a selector says anything.
[[nodiscard]] bool ChoosesDevices(const v1::DeviceSelector& selector);

}  // namespace ballast::cli
