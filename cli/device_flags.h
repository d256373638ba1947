// Flags that choose devices.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

// Sets what was given: texts of --on that are lists of LABEL=VALUE as labels, all others as an expression, which the
// coordinator reads. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillDevices(const DeviceFlags& flags, v1::DeviceSelector* selector);

// The labels of --on where lists are filtered, and no expression is taken. INVALID_ARGUMENT as ParsePairs, and for
// what is an expression.
[[nodiscard]] absl::StatusOr<std::map<std::string, std::string>> ParseLabels(const std::vector<std::string>& texts);

// Whether a selector says anything.
[[nodiscard]] bool ChoosesDevices(const v1::DeviceSelector& selector);

}  // namespace ballast::cli
