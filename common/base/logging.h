// Logging: spdlog on stderr, so that stdout carries only what was asked for. Through a logger of our own: a program
// that embeds the library has spdlog's default one for itself.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "spdlog/spdlog.h"  // IWYU pragma: export

namespace ballast::base {

// Where everything is logged, each message as one line. Until InitLogging: warnings, errors; on stderr. Thread-safe.
[[nodiscard]] spdlog::logger& Log();

// Sets up that logger: stderr, UTC timestamps with milliseconds, `program` in every line. `level` is trace,
// debug, info, warn or error; INVALID_ARGUMENT otherwise. Call once, before threads start.
[[nodiscard]] absl::Status InitLogging(std::string_view program, std::string_view level);

}  // namespace ballast::base
