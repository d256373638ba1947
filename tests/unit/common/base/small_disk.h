// A disk of a few megabytes that is full soon.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>

namespace ballast::base {

// A file system of its own in memory; unmounted and removed at the end. Mounting needs rights that not every machine
// gives: look at `problem` first.
class SmallDisk {
 public:
  explicit SmallDisk(std::uint64_t bytes) {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-disk-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
    const std::string options = fmt::format("size={}", bytes);
    if (::mount("ballast-test", path_.c_str(), "tmpfs", 0, options.c_str()) != 0) {
      problem_ = fmt::format("no tmpfs can be mounted here: {}", std::strerror(errno));
    }
  }
  ~SmallDisk() {
    if (problem_.empty()) ::umount2(path_.c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  // What others put on the disk.
  void Fill(std::uint64_t bytes) const {
    std::ofstream file(path_ / "others", std::ios::app | std::ios::binary);
    const std::string block(1U << 20U, 'x');
    for (; bytes >= block.size(); bytes -= block.size()) file << block;
    file << block.substr(0, bytes);
  }
  void Free() const { std::filesystem::remove(path_ / "others"); }

 private:
  std::filesystem::path path_;
  std::string problem_;
};

}  // namespace ballast::base
