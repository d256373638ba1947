// Real cgroups of this machine, where they can be made.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include "common/base/child_process.h"
#include "common/base/file.h"
#include "common/os/cgroup.h"
#include "common/os/procfs.h"

namespace ballast::environment {

inline constexpr std::chrono::seconds kPatience(30);

inline bool WriteText(const std::string& path, std::string_view text) {
  const auto file = base::OpenFile(path, O_WRONLY);
  return file.ok() && base::WriteAll(file->get(), text).ok();
}

// Whether a process runs; a zombie does not count.
inline bool Runs(pid_t pid) {
  const auto content = base::ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!content.ok()) return false;
  const auto stat = os::ParseProcessStat(*content);
  return stat && stat->state != 'Z' && stat->state != 'X';
}

// Waits for what the kernel tells nobody.
template <typename Condition>
bool WaitUntil(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A file that a process is to write, as soon as it is not empty.
inline std::string WaitForContent(const std::string& path) {
  std::string content;
  WaitUntil([&] {
    content = base::ReadFile(path).value_or("");
    return content.ends_with('\n');
  });
  return content;
}

// A directory that goes away with the test.
class DirectoryFixture : public testing::Test {
 protected:
  DirectoryFixture() {
    std::string name = testing::TempDir() + "/ballast_environment_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~DirectoryFixture() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string Path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  void Write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = Path(name);
    std::filesystem::create_directories(file.parent_path());
    const auto fd = base::OpenFile(file, O_WRONLY | O_CREAT | O_TRUNC);
    ASSERT_TRUE(fd.ok() && base::WriteAll(fd->get(), content).ok()) << file;
  }

  std::string directory_;
};

// The place of this process in a hierarchy of the machine in which it may make cgroups; the test is skipped where there
// is none. `version` 2 needs no memory controller.
class GroupFixture : public DirectoryFixture {
 protected:
  void Locate(int version) {
    const auto location = os::LocateCgroups();
    if (!location.ok()) GTEST_SKIP() << location.status();
    location_ = *location;
    if (version == 2) {
      if (location_.unified_directory.empty()) GTEST_SKIP() << "needs a version 2 hierarchy";
      location_.memory_version = 2;
      location_.memory_path = "/";
      location_.memory_directories = {location_.unified_directory};
    }
    if (location_.memory_version != version) GTEST_SKIP() << "needs the version 1 memory controller";
    if (::access((location_.memory_directories.front() + "/cgroup.procs").c_str(), W_OK) != 0)
      GTEST_SKIP() << "needs the right to make a cgroup (run as root)";
  }

  os::CgroupLocation location_;
};

}  // namespace ballast::environment
