// Flags that describe memory pressure: a mode and what belongs to it. They fill in a PressureWorkload and nothing else.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"

namespace ballast::cli {

// The values as they were written, by flag; only those that were given.
struct PressureFlags {
  std::string mode;
  std::map<std::string, std::string> values;
};

// All but those that the command has a meaning of its own for.
void AddPressureFlags(CLI::App* command, PressureFlags* flags, const std::vector<std::string>& without = {});

// Sets `spec->workload.pressure`. INVALID_ARGUMENT names the flag: unknown mode, a flag that the mode does not have
// (with the modes that do), a value out of range.
[[nodiscard]] absl::Status FillPressure(const PressureFlags& flags, v1::JobSpec* spec);

// Sets the pressure at `pressure`, which is held beside something else (`beside`: `the model`), and whether the device
// is guarded, where a mode or `--until oom` was given. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillPressureBeside(const PressureFlags& flags, const std::string& beside,
                                              v1::PressureWorkload* (*pressure)(v1::JobSpec*), v1::JobSpec* spec);

// Checks the whole job against its rules, as it will be with its defaults. INVALID_ARGUMENT, a line a problem, each
// with the flag that belongs to the field.
[[nodiscard]] absl::Status CheckPressureJob(const PressureFlags& flags, const v1::JobSpec& spec);

}  // namespace ballast::cli
