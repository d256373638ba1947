// Where the program is that holds the memory.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace ballast::memory {

// The runner: `given`, where it is not empty; else the environment variable BALLAST_RUNNER; else that of the package
// which this program was built with; else the one beside this program's file or in ../libexec/ballast from there. What
// is named by the first two must be there. NOT_FOUND lists where it was looked for; PERMISSION_DENIED where it cannot
// be run. Thread-safe as long as nobody changes the environment. `self` is a link to this program's file.
[[nodiscard]] absl::StatusOr<std::filesystem::path> FindRunner(const std::filesystem::path& given,
                                                               const std::filesystem::path& self = "/proc/self/exe");

}  // namespace ballast::memory
