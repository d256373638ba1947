#include "worker/environment/own_group.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/os/line_scanner.h"
#include "worker/environment/cgroup_end.h"

namespace ballast::environment {
namespace {

// A process that was killed goes when the kernel lets it: giving gigabytes back takes a while on a slow device.
constexpr std::chrono::seconds kEndTimeout(10);
constexpr int kMaxNames = 1000;

std::string Child(const std::string& path, std::string_view name) {
  return path.ends_with('/') ? fmt::format("{}{}", path, name) : fmt::format("{}/{}", path, name);
}

// Whether OwnGroup::Create gives such names: the prefix, a pid and a number.
bool IsNamedLike(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  const std::size_t dash = name.find('-');
  return dash != std::string_view::npos && os::ToNumber<std::uint32_t>(name.substr(0, dash)) &&
         os::ToNumber<std::uint32_t>(name.substr(dash + 1));
}

// The lock of a directory that still stands; an invalid descriptor where somebody else has it, or removed it meanwhile.
base::Fd Lock(const std::string& directory) {
  base::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return {};
  struct stat opened {};
  struct stat standing {};
  if (::fstat(fd.get(), &opened) != 0 || ::stat(directory.c_str(), &standing) != 0 || opened.st_ino != standing.st_ino)
    return {};
  return fd;
}

}  // namespace

absl::StatusOr<OwnGroup> OwnGroup::Create(const os::CgroupLocation& parent, std::string_view prefix,
                                          RunnerKeeper* keeper) {
  for (int number = 0; number < kMaxNames; ++number) {
    const std::string name = fmt::format("{}{}-{}", prefix, ::getpid(), number);
    const std::string directory = Child(parent.memory_directories.front(), name);
    if (keeper != nullptr) BALLAST_RETURN_IF_ERROR(keeper->Watch(directory));
    if (::mkdir(directory.c_str(), 0755) != 0) {
      if (errno == EEXIST) continue;
      return base::ErrnoStatus(errno, fmt::format("make the cgroup {}", directory));
    }
    OwnGroup group;
    group.lock_ = Lock(directory);
    if (!group.lock_.valid()) continue;  // another agent took it for a leftover
    group.location_ = parent;
    group.location_.memory_path = Child(parent.memory_path, name);
    group.location_.memory_directories.insert(group.location_.memory_directories.begin(), directory);
    if (parent.memory_version == 2) group.location_.unified_directory = directory;
    return group;
  }
  return absl::AlreadyExistsError(fmt::format("{} is full of cgroups of earlier runs; remove those named {}*",
                                              parent.memory_directories.front(), std::string(prefix)));
}

OwnGroup::OwnGroup(OwnGroup&& other) noexcept
    : location_(std::exchange(other.location_, os::CgroupLocation())), lock_(std::move(other.lock_)) {}

OwnGroup& OwnGroup::operator=(OwnGroup&& other) noexcept {
  if (this != &other) {
    End();
    location_ = std::exchange(other.location_, os::CgroupLocation());
    lock_ = std::move(other.lock_);
  }
  return *this;
}

OwnGroup::~OwnGroup() {
  End();
}

absl::Status OwnGroup::Write(std::string_view file, std::string_view value) const {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(Child(directory(), file), O_WRONLY));
  return base::WithContext(base::WriteAll(fd.get(), value), Child(directory(), file));
}

void OwnGroup::Abandon() {
  location_ = os::CgroupLocation();
  lock_.Reset();
}

void OwnGroup::End() {
  if (location_.memory_directories.empty()) return;
  if (!EndCgroup(directory().c_str(), kEndTimeout)) {
    base::Log().error(
        "the cgroup {} could not be emptied and removed within {} s; the next start of a worker tries again",
        directory(), kEndTimeout.count());
  }
  Abandon();
}

absl::StatusOr<OwnGroup> MakeRunGroupBelow(const os::CgroupLocation& parent) {
  BALLAST_ASSIGN_OR_RETURN(OwnGroup group, OwnGroup::Create(parent, kRunGroupPrefix));
  if (parent.memory_version == 2) BALLAST_RETURN_IF_ERROR(group.Write("memory.oom.group", "1"));
  return group;
}

int SweepGroups(const std::string& directory) {
  int ended = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!IsNamedLike(name, kRunGroupPrefix) && !IsNamedLike(name, kEnvironmentGroupPrefix) &&
        !IsNamedLike(name, kAgentGroupPrefix)) {
      continue;
    }
    const base::Fd lock = Lock(entry.path().string());
    if (lock.valid() && EndCgroup(entry.path().c_str(), kEndTimeout)) ++ended;
  }
  return ended;
}

}  // namespace ballast::environment
