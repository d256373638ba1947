// The end of a cgroup: everything in it is killed, and it is removed.
#pragma once

#include <chrono>

namespace ballast::environment {

// Kills every process of the cgroup in `directory` (of either version) with SIGKILL, again and again until it is empty,
// and removes it. The caller must not be in it. Has no effect on cgroups below it but that version 2 kills their
// processes too. False when that was not done within `timeout` (a process may hang in the kernel) or is not allowed;
// true also where there is no such cgroup any more. Async-signal-safe: for use between fork and exec as well.
bool EndCgroup(const char* directory, std::chrono::milliseconds timeout);

}  // namespace ballast::environment
