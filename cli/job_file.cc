#include "cli/job_file.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/config/yaml.h"

namespace ballast::cli {
namespace {

constexpr char kExample[] = "`ballast simple … --dry-run` prints one that is valid";

// Where a relative name was looked for: the caller may be elsewhere than he thinks.
std::string LookedFor(const std::filesystem::path& file) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(file, error);
  if (error || file.is_absolute()) return {};
  return fmt::format("; looked for it at {}", absolute.lexically_normal().string());
}

}  // namespace

absl::Status ReadJobFile(const std::string& file, const std::vector<std::string>& sets, v1::JobSpec* spec) {
  const absl::Status read = config::ReadYamlFile(file, sets, spec);
  if (read.ok()) return read;
  if (absl::IsNotFound(read)) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("the job file '{}' does not exist{}", file, LookedFor(file))),
        fmt::format("name a file that exists; {}", kExample));
  }
  const absl::Status invalid = absl::InvalidArgumentError(std::string(read.message()));
  if (absl::IsPermissionDenied(read)) return WithNextStep(invalid, "let this user read the file, or name another");
  return WithNextStep(invalid, fmt::format("mend the file; {}", kExample));
}

}  // namespace ballast::cli
