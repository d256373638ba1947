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

// Sets the pressure that is held beside the model, and whether the device is guarded, where a mode or `--until oom` was
// given. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillPressureBeside(const ModelFlags& flags, v1::PressureWorkload* (*pressure)(v1::JobSpec*),
                                              v1::JobSpec* spec);

// Checks the whole job against its rules, as it will be with its defaults. INVALID_ARGUMENT, a line a problem.
// `command` is named in the next step.
[[nodiscard]] absl::Status CheckModelJob(const v1::JobSpec& spec, const std::string& command);

}  // namespace ballast::cli
