// A directory for one test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace ballast::storage {

// Makes an empty directory and removes it with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = std::filesystem::path(testing::TempDir()) / "ballast-sqlite-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path database() const { return path_ / "ballast.db"; }

 private:
  std::filesystem::path path_;
};

}  // namespace ballast::storage
