#include "worker/environment/oom_daemons.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <system_error>

#include "common/base/file.h"

namespace ballast::environment {
namespace {

// As the kernel cuts them.
constexpr std::array<std::string_view, 8> kNames = {
    "bustd", "earlyoom", "lmkd", "low-memory-moni", "nohang", "nohang-desktop", "oomd", "systemd-oomd",
};
constexpr std::size_t kMaxNameBytes = 64;

bool IsPid(const std::string& name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool IsOomDaemon(std::string_view command) {
  return std::ranges::find(kNames, command) != kNames.end();
}

std::vector<std::string> FindOomDaemons(const std::string& root) {
  std::set<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(root) / "proc", error)) {
    if (!IsPid(entry.path().filename().string())) continue;
    absl::StatusOr<std::string> name = base::ReadFile(entry.path() / "comm", kMaxNameBytes);
    if (!name.ok()) continue;
    if (name->ends_with('\n')) name->pop_back();
    if (IsOomDaemon(*name)) found.insert(*std::move(name));
  }
  return {found.begin(), found.end()};
}

}  // namespace ballast::environment
