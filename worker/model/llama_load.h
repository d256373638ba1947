// Loads with llama.cpp.
#pragma once

#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/runner.pb.h"
#include "worker/model/load_log.h"

namespace ballast::model {

// Starts llama.cpp's server, waits until it has loaded the model, has it take in a prompt, and generate: the stages of
// a load, told to the log. Returns the sentence for a load that was completed. CANCELLED on `stop`; ABORTED where the
// kernel's OOM killer ended the server; what else went wrong fails the load. The server has ended when this returns.
[[nodiscard]] absl::StatusOr<std::string> LoadWithLlama(const v1::LoadTask& task, LoadLog* log,
                                                        const std::stop_token& stop);

}  // namespace ballast::model
