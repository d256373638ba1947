// Flags that say what a level of a model has to meet.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/report.pb.h"

namespace ballast::cli {

// The values as they were written; empty where a flag was not given.
struct ModelLimitFlags {
  std::string max_load;
  std::string min_passes;
  std::string max_resident;
  std::string devices;

  [[nodiscard]] bool any() const {
    return !(max_load.empty() && min_passes.empty() && max_resident.empty() && devices.empty());
  }
};

void AddModelLimitFlags(CLI::App* command, ModelLimitFlags* flags);

// Sets what was given. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillModelLimits(const ModelLimitFlags& flags, v1::ModelLimits* limits);

}  // namespace ballast::cli
