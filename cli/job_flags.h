// Flags that every command which builds a job has. They fill in a JobSpec and nothing else.
#pragma once

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "ballast/v1/job.pb.h"
#include "cli/device_flags.h"

namespace ballast::cli {

// The values as they were written; empty where a flag was not given.
struct JobFlags {
  std::string name;
  DeviceFlags where;
  std::string environment;
  std::string repeat;  // runs on each device, by whatever name
  std::string priority;
  std::string max_parallel;
  std::string timeout;
  std::string sample_interval;
  std::string expect;
  std::string settle;
  std::string guard_floor;
  std::string guard_psi;
  std::vector<std::string> annotations;
};

// `repeat` is the name of the flag for runs on each device.
void AddJobFlags(CLI::App* command, JobFlags* flags, const std::string& repeat = "--repeat");

// Sets what was given. INVALID_ARGUMENT names the flag.
[[nodiscard]] absl::Status FillJob(const JobFlags& flags, v1::JobSpec* spec);

// Checks the whole job against its rules, as it will be with its defaults. INVALID_ARGUMENT, a line a problem.
// `command` is named in the next step.
[[nodiscard]] absl::Status CheckJob(const v1::JobSpec& spec, const std::string& command);

// config::SetField for a flag: errors name the flag, and `example` is the next step. Nothing happens where `text` is
// empty.
[[nodiscard]] absl::Status SetFromFlag(const std::string& flag, const std::string& path, const std::string& text,
                                       const std::string& example, v1::JobSpec* spec);

}  // namespace ballast::cli
