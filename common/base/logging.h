// Logging for programs: spdlog on stderr, so that stdout carries only what was asked for.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "spdlog/spdlog.h"  // IWYU pragma: export

namespace ballast::base {

// Sets up the default logger: stderr, UTC timestamps with milliseconds, `program` in every line. `level` is trace,
// debug, info, warn or error; INVALID_ARGUMENT otherwise. Call once, before threads start.
[[nodiscard]] absl::Status InitLogging(std::string_view program, std::string_view level);

}  // namespace ballast::base
