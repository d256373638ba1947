// Userspace OOM daemons: programs that end others before the kernel does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ballast::environment {

// Whether a process of this name (as /proc/PID/comm has it: at most 15 characters) is such a daemon: systemd-oomd,
// earlyoom, nohang, oomd, lmkd, bustd, low-memory-monitor.
[[nodiscard]] bool IsOomDaemon(std::string_view command);

// The names of those that run, sorted, each once. `root` is where /proc is found. Reads every process's name: some
// milliseconds.
[[nodiscard]] std::vector<std::string> FindOomDaemons(const std::string& root = "/");

}  // namespace ballast::environment
