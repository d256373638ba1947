#include "worker/environment/disk_of.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/os/line_scanner.h"

namespace ballast::environment {
namespace {

std::string DeviceText(dev_t device) {
  return fmt::format("{}:{}", major(device), minor(device));
}

// Whether `directory` is `mount_point` or below it.
bool IsBelow(std::string_view directory, std::string_view mount_point) {
  if (mount_point == "/") return true;
  return directory.starts_with(mount_point) &&
         (directory.size() == mount_point.size() || directory[mount_point.size()] == '/');
}

// Type and source of the file system that is mounted over the directory.
struct Mounted {
  std::string type;
  std::string source;
};

Mounted FindMount(const std::string& directory, const std::string& root) {
  const absl::StatusOr<std::string> content = base::ReadFile(std::filesystem::path(root) / "proc/self/mountinfo");
  Mounted mounted;
  if (!content.ok()) return mounted;
  std::string_view text = *content;
  std::string_view line;
  std::size_t longest = 0;
  while (os::NextLine(&text, &line)) {
    // ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER_OPTIONS
    std::string_view word;
    std::string_view mount_point;
    for (int i = 0; i < 4; ++i) (void)os::NextWord(&line, &word);
    if (!os::NextWord(&line, &mount_point) || !IsBelow(directory, mount_point) || mount_point.size() < longest)
      continue;
    while (os::NextWord(&line, &word) && word != "-") {
    }
    std::string_view type;
    std::string_view source;
    if (!os::NextWord(&line, &type) || !os::NextWord(&line, &source)) continue;
    longest = mount_point.size();
    mounted = {.type = std::string(type), .source = std::string(source)};
  }
  return mounted;
}

}  // namespace

absl::StatusOr<std::string> WholeDisk(const std::string& device, const std::string& root) {
  std::error_code error;
  // A link to the device's place in the tree of all devices; a partition stands below its disk.
  const std::filesystem::path place =
      std::filesystem::canonical(std::filesystem::path(root) / "sys/dev/block" / device, error);
  if (error) return absl::NotFoundError(fmt::format("/sys/dev/block/{}: {}", device, error.message()));
  if (!std::filesystem::exists(place / "partition", error)) return device;
  BALLAST_ASSIGN_OR_RETURN(std::string whole, base::ReadFile(place.parent_path() / "dev"));
  while (!whole.empty() && whole.back() == '\n') whole.pop_back();
  return whole;
}

absl::StatusOr<std::string> DiskOf(const std::filesystem::path& directory, const std::string& root) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return base::ErrnoStatus(errno, directory.string());
  if (major(status.st_dev) != 0) return WholeDisk(DeviceText(status.st_dev), root);
  // File systems over several disks, as btrfs, have a device number of their own; where it was mounted from says more.
  std::error_code error;
  const Mounted mounted = FindMount(std::filesystem::canonical(directory, error).string(), root);
  struct stat source {};
  if (mounted.source.starts_with('/') && ::stat(mounted.source.c_str(), &source) == 0 && S_ISBLK(source.st_mode))
    return WholeDisk(DeviceText(source.st_rdev), root);
  return absl::FailedPreconditionError(fmt::format("{} is on no disk, but on {}", directory.string(),
                                                   mounted.type.empty() ? "an unknown file system" : mounted.type));
}

}  // namespace ballast::environment
