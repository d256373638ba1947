// Human units: the one parser and printer of sizes, durations and percentages, for flags, YAML and output.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ballast::base {

// Bytes from `100` (MiB), `512B`, `64K`, `100MB`, `1.5GiB`, `2T`. Units are binary: MB and MiB are both 1024 * 1024
// bytes. Case is ignored, one space before the unit is allowed. Parts of a byte are rounded. INVALID_ARGUMENT on
// anything else: negative, not a number, or 2^63 bytes and above.
[[nodiscard]] absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text);

// A duration from `5`, `5.0` (seconds), `250ms`, `90s`, `10m`, `8h`, `2d`, `1h30m`. INVALID_ARGUMENT on anything else,
// also negative durations and those above 292 years.
[[nodiscard]] absl::StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text);

// A percentage from `70`, `70%`, `0.5 %`. INVALID_ARGUMENT when it is not a finite number; the range is the field's
// business.
[[nodiscard]] absl::StatusOr<double> ParsePercent(std::string_view text);

// For people: `0 B`, `512 B`, `1.5 GiB`, `100 MiB`; at most three significant digits after rounding, never more precise
// than a byte.
[[nodiscard]] std::string FormatBytes(std::uint64_t bytes);

// For files: the shortest text that ParseBytes reads back to exactly the same value (`100MiB`, `1536B`), below 2^63.
[[nodiscard]] std::string BytesToText(std::uint64_t bytes);

// For people: `250 ms`, `5.0 s`, `1m 30s`, `8h 00m`.
[[nodiscard]] std::string FormatDuration(std::chrono::nanoseconds duration);

// For files: the shortest text that ParseDuration reads back to exactly the same value (`5s`, `250ms`, `8h`); a
// negative one is only for people.
[[nodiscard]] std::string DurationToText(std::chrono::nanoseconds duration);

}  // namespace ballast::base
