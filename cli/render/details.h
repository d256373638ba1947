// One job, run or device in full, for people. Programs use --output json.
#pragma once

#include <string>

#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/planning.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::cli {

// `name: value` lines, parts indented, everything from outside made printable.
[[nodiscard]] std::string JobDetails(const v1::Job& job);
[[nodiscard]] std::string ScheduleDetails(const v1::Schedule& schedule);
[[nodiscard]] std::string RunDetails(const v1::Run& run);
[[nodiscard]] std::string DeviceDetails(const v1::Device& device);

}  // namespace ballast::cli
