// What whoever starts the coordinator can do about a failure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::coordinator {

// The same status, with what to do about it; OK stays OK. Where the cause is known, that is known too: one code can
// mean an address or a database.
[[nodiscard]] absl::Status WithNextStep(absl::Status status, std::string_view next_step);
// What WithNextStep gave; empty where it gave nothing.
[[nodiscard]] std::string NextStepOf(const absl::Status& status);

// A failure of the data directory or of the store in it, with its next step.
[[nodiscard]] absl::Status OfDataDirectory(absl::Status status);
[[nodiscard]] absl::Status OfStore(absl::Status status);
// What can be done about a failure of backup, restore or compact: what the failure itself says, else by its code.
[[nodiscard]] std::string NextStepOfMaintenance(const absl::Status& status);
// A failure of the model catalogue or of the store of models, with its next step.
[[nodiscard]] absl::Status OfModels(absl::Status status);
// A failure of the environment profiles, with its next step.
[[nodiscard]] absl::Status OfEnvironments(absl::Status status);

}  // namespace ballast::coordinator
