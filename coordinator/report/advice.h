// Which level of a model to use on a group of devices.
#pragma once

#include <map>
#include <span>
#include <string>

#include "ballast/v1/device.pb.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/report.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::report {

// What advice is made from.
struct AdviceInputs {
  // Loads that were measured, with their conditions. `by_device` counts; loads on other devices do not.
  const v1::ModelComparison& comparison;
  // How the model is loaded: for estimates.
  const v1::ModelLoad& load;
  // What is known of the files, by level. Every level here or in the comparison is considered.
  const std::map<std::string, v1::ModelDescription>& descriptions;
  // Where it is to be used.
  std::span<const v1::Device> devices;
  // What it has to meet.
  const v1::ModelLimits& limits;
};

// The highest level of quality that meets the limits on enough of the devices, and why. On a device where a level was
// loaded only these loads say whether it does: all that count survived, the median of the time to the end of the first
// pass and of passes a second, and the greatest peak of resident memory meet the limits. Where it was not, it is
// estimated from the file's description and the device's facts: everything it takes must fit beside the pressure at
// once, since a file that is read again and again is no fit. An estimate tells no times: with a limit of time a level
// that was not measured does not meet it. A device that lacks the runtime fails every level. docs/reports.md says the
// same in words. Pure.
[[nodiscard]] v1::ModelAdvice AdviseOnLevels(const AdviceInputs& inputs);

}  // namespace ballast::report
