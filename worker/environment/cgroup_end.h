// The end of a cgroup: everything in it is killed, and it is removed.
#pragma once

#include <chrono>

namespace ballast::environment {

// Kills every process of the cgroup in `directory` (of either version) and of all cgroups below it with SIGKILL, again
// and again until they are empty, and removes them. The caller must not be in any of them. False when that was not done
// within `timeout` (a process may hang in the kernel) or is not allowed; true also where there is no such cgroup any
// more. Async-signal-safe: for use between fork and exec as well.
bool EndCgroup(const char* directory, std::chrono::milliseconds timeout);

}  // namespace ballast::environment
