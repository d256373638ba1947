// Runs in a memory cgroup with a limit, which this process shares with its runners. Version 1; version 2 is tested on
// devices.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/os/cgroup.h"
#include "tests/unit/worker/agent/run_fixture.h"

namespace ballast::agent {

class LimitedGroupFixture : public RunFixture {
 protected:
  explicit LimitedGroupFixture(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  void SetUp() override {
    const auto location = os::LocateCgroups();
    if (!location.ok() || location->memory_version != 1) GTEST_SKIP() << "needs the version 1 memory controller";
    home_ = location->memory_directories.front();
    group_ = fmt::format("{}/ballast-agent-test-{}", location->memory_directories.back(), ::getpid());
    if (::mkdir(group_.c_str(), 0755) != 0) GTEST_SKIP() << "needs the right to make a cgroup (run as root)";
    const bool limited = WriteText(group_ + "/memory.limit_in_bytes", std::to_string(limit_bytes_));
    WriteText(group_ + "/memory.memsw.limit_in_bytes", std::to_string(limit_bytes_));
    joined_ = limited && WriteText(group_ + "/cgroup.procs", std::to_string(::getpid()));
    if (!joined_) GTEST_SKIP() << "cannot enter a limited cgroup";
    // A group of version 2 beside it, where there is one, tells of the group's own stalls.
    if (location->unified_directory.empty()) return;
    unified_home_ = location->unified_directory;
    unified_group_ = fmt::format("{}/ballast-agent-test-{}", unified_home_, ::getpid());
    if (::mkdir(unified_group_.c_str(), 0755) == 0) {
      WriteText(unified_group_ + "/cgroup.procs", std::to_string(::getpid()));
    }
  }
  void TearDown() override {
    if (joined_) WriteText(home_ + "/cgroup.procs", std::to_string(::getpid()));
    if (!unified_group_.empty()) WriteText(unified_home_ + "/cgroup.procs", std::to_string(::getpid()));
    EXPECT_TRUE(RemoveGroup(group_)) << "something is left in " << group_;
    EXPECT_TRUE(RemoveGroup(unified_group_)) << "something is left in " << unified_group_;
  }

  const std::uint64_t limit_bytes_;
  std::string group_;  // directory of the limited cgroup

 private:
  // A process that was killed leaves its group a moment later, which nothing tells of.
  static bool RemoveGroup(const std::string& directory) {
    const auto deadline = base::RealClock().Monotonic() + kPatience;
    while (!directory.empty() && ::rmdir(directory.c_str()) != 0 && errno != ENOENT) {
      if (base::RealClock().Monotonic() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  static bool WriteText(const std::string& path, const std::string& text) {
    const auto file = base::OpenFile(path, O_WRONLY);
    return file.ok() && base::WriteAll(file->get(), text).ok();
  }

  std::string home_;
  std::string unified_home_;
  std::string unified_group_;
  bool joined_ = false;
};

}  // namespace ballast::agent
