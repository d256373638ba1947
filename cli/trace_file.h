// A curve of memory in use from a CSV file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/memory_curve.h"

namespace ballast::cli {

// Two columns, time and memory in use, a line a point:
//   time,percent          a line of headings may come first: time, seconds or offset_ms; percent or bytes
//   0,30                  seconds, or with a unit (250ms, 1m30s); the first point is where the curve begins
//   5,45.5%
//   10,3GiB               a size has a unit; below the heading `bytes` a bare number is bytes
// Without headings the first value decides what the column holds. Blank lines and what stands behind `#` count for
// nothing. So the output of `ballast runs samples RUN --metric mem_used_percent` is such a file. INVALID_ARGUMENT, a
// line a problem and each with its place, `NAME:LINE:COLUMN: …`: at most ten of them.
[[nodiscard]] absl::StatusOr<MemoryCurve> ParseTraceCsv(std::string_view content, const std::string& name);

// The same from a file of at most 256 MiB. Codes as in base::ReadFile.
[[nodiscard]] absl::StatusOr<MemoryCurve> ReadTraceFile(const std::filesystem::path& path);

}  // namespace ballast::cli
