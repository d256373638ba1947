#include "worker/agent/boot_id.h"

#include <filesystem>

#include "common/base/file.h"

namespace ballast::agent {

std::string ReadBootId(const std::string& root) {
  const absl::StatusOr<std::string> content =
      base::ReadFile(std::filesystem::path(root) / "proc/sys/kernel/random/boot_id", 4096);
  return content.ok() ? content->substr(0, content->find('\n')) : std::string();
}

}  // namespace ballast::agent
