// What goes with an error, for the person who reads it: the next step, and lines to look at.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ballast::base {

// The same status with a next step (`ballast jobs list shows the jobs`). One that it already has stays. OK stays OK.
[[nodiscard]] absl::Status WithNextStep(absl::Status status, std::string_view next_step);

// The same status with lines to show below the cause, for instance the end of a log. OK stays OK.
[[nodiscard]] absl::Status WithDetail(absl::Status status, std::string_view detail);

// What was given; nothing where nothing was.
[[nodiscard]] std::optional<std::string> NextStepOf(const absl::Status& status);
[[nodiscard]] std::optional<std::string> DetailOf(const absl::Status& status);

}  // namespace ballast::base
