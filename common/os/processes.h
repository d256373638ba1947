// The processes of the machine.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace ballast::os {

// Visits every process (threads of the kernel are processes here) with its identifier and its name as the kernel keeps
// it: at most 15 bytes. Only this pid namespace's. Opens a file of each. `root` is where /proc is found.
void VisitProcesses(const std::string& root, const std::function<void(pid_t pid, const std::string& name)>& visit);

}  // namespace ballast::os
