// The program `ballast-worker --run-environment FILE -- CMD…`.
#pragma once

#include <string>
#include <vector>

namespace ballast::environment {

// Reads an EnvironmentProfile from the YAML file (`/dev/fd/N` for a descriptor that was passed on), runs the command in
// it, and says on standard error what the user has to know. The exit code: the command's own, 128 + the signal that
// ended it, 2 where the file is no profile, 6 where the environment is refused, 126 where the command cannot be
// executed and 127 where there is none.
int EnvironmentCommandMain(const std::string& file, const std::vector<std::string>& argv);

}  // namespace ballast::environment
