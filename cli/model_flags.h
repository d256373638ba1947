// Flags that describe how a model is loaded and used, and the pressure beside it. They fill in a JobSpec and nothing
// else.
#pragma once

#include <map>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"
#include "cli/pressure_flags.h"

namespace ballast::cli {

// The values as they were written, by flag; only those that were given.
struct ModelFlags {
  std::map<std::string, std::string> values;
  PressureFlags pressure;
};

// `with_quant`: the command loads one level, which a flag names.
void AddModelFlags(CLI::App* command, bool with_quant, ModelFlags* flags);

// Sets the ModelLoad at `path` (`workload.model.load`). INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillModelLoad(const ModelFlags& flags, const std::string& path, v1::JobSpec* spec);

}  // namespace ballast::cli
