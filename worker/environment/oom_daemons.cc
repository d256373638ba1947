#include "worker/environment/oom_daemons.h"

#include <algorithm>
#include <array>
#include <set>

#include "common/os/processes.h"

namespace ballast::environment {
namespace {

// As the kernel cuts them.
constexpr std::array<std::string_view, 8> kNames = {
    "bustd", "earlyoom", "lmkd", "low-memory-moni", "nohang", "nohang-desktop", "oomd", "systemd-oomd",
};

}  // namespace

bool IsOomDaemon(std::string_view command) {
  return std::ranges::find(kNames, command) != kNames.end();
}

std::vector<std::string> FindOomDaemons(const std::string& root) {
  std::set<std::string> found;
  os::VisitProcesses(root, [&found](pid_t /*pid*/, const std::string& name) {
    if (IsOomDaemon(name)) found.insert(name);
  });
  return {found.begin(), found.end()};
}

}  // namespace ballast::environment
