#include "worker/memory/private_directory.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace ballast::memory {
namespace {

class PrivateDirectoryTest : public ::testing::Test {
 protected:
  PrivateDirectoryTest() {
    std::string name = testing::TempDir() + "/ballast_private_directory_XXXXXX";
    parent_ = ::mkdtemp(name.data());
    ::setenv("TMPDIR", parent_.c_str(), 1);
  }
  ~PrivateDirectoryTest() override {
    ::unsetenv("TMPDIR");
    std::filesystem::remove_all(parent_);
  }

  std::filesystem::path parent_;
};

TEST_F(PrivateDirectoryTest, OneOfItsOwnGoesWithIt) {
  std::filesystem::path path;
  {
    const auto directory = PrivateDirectory::Open({});
    ASSERT_TRUE(directory.ok()) << directory.status();
    path = directory->path();
    EXPECT_EQ(path.parent_path(), parent_);
    std::ofstream(path / "file") << "text";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(PrivateDirectoryTest, AGivenOneStays) {
  const std::filesystem::path path = parent_ / "mine";
  ASSERT_TRUE(PrivateDirectory::Open(path).ok());
  EXPECT_TRUE(std::filesystem::exists(path));
  const auto first = PrivateDirectory::Open(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(PrivateDirectory::Open(path).status())) << "one program at a time";
}

TEST_F(PrivateDirectoryTest, WhatAKilledProgramLeftIsRemovedAndWhatLivesIsNot) {
  const auto living = PrivateDirectory::Open({});
  ASSERT_TRUE(living.ok());
  const std::filesystem::path left = parent_ / "ballast-memory-aaaaaa";
  std::filesystem::create_directories(left / "spool");
  std::ofstream(left / "lock") << "";
  const std::filesystem::path being_made = parent_ / "ballast-memory-bbbbbb";
  std::filesystem::create_directories(being_made);
  const auto next = PrivateDirectory::Open({});
  ASSERT_TRUE(next.ok());
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(living->path()));
  EXPECT_TRUE(std::filesystem::exists(being_made)) << "it has no lock yet";
}

}  // namespace
}  // namespace ballast::memory
