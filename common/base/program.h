// Looking for a program.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ballast::base {

// Whether `program` exists and may be executed by this process, as execvp looks for it: a name with a slash is a path,
// another one is looked for on PATH. NOT_FOUND and PERMISSION_DENIED say which.
[[nodiscard]] absl::Status FindProgram(const std::string& program);

}  // namespace ballast::base
