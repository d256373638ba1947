#include "common/os/processes.h"

#include <charconv>
#include <filesystem>
#include <system_error>

#include "common/base/file.h"

namespace ballast::os {

void VisitProcesses(const std::string& root, const std::function<void(pid_t pid, const std::string& name)>& visit) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(std::filesystem::path(root) / "proc", error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string number = entry->path().filename().string();
    pid_t pid = 0;
    const auto [rest, wrong] = std::from_chars(number.data(), number.data() + number.size(), pid);
    if (wrong != std::errc() || rest != number.data() + number.size()) continue;
    absl::StatusOr<std::string> name = base::ReadFile(entry->path() / "comm", 64);
    if (!name.ok()) continue;  // it has ended meanwhile
    if (name->ends_with('\n')) name->pop_back();
    visit(pid, *name);
  }
}

}  // namespace ballast::os
