// Which boot of the machine this is.
#pragma once

#include <string>

namespace ballast::agent {

// /proc/sys/kernel/random/boot_id, or nothing where the kernel does not tell. `root` is where /proc is found.
[[nodiscard]] std::string ReadBootId(const std::string& root = "/");

}  // namespace ballast::agent
