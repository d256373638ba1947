// The loader of this project.
#pragma once

#include <stop_token>

#include "absl/status/statusor.h"
#include "ballast/v1/runner.pb.h"
#include "worker/model/load_log.h"

namespace ballast::model {

// Parses, loads, uses: the stages of a load, told to the log. Returns the sentence for a load that was completed. What
// went wrong is the load's end: CANCELLED on `stop`, else LOAD_FAILED with the message.
[[nodiscard]] absl::StatusOr<std::string> LoadWithBuiltin(const v1::LoadTask& task, LoadLog* log,
                                                          const std::stop_token& stop);

}  // namespace ballast::model
