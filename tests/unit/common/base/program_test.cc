#include "common/base/program.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::base {
namespace {

using testing::HasSubstr;

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    std::string name = testing::TempDir() + "/program_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
    if (const char* const path = ::getenv("PATH")) path_ = path;
    ::setenv("PATH", (directory_ + "/none:" + directory_).c_str(), 1);
  }
  ~ProgramTest() override {
    ::setenv("PATH", path_.c_str(), 1);
    std::filesystem::remove_all(directory_);
  }

  std::string Write(const std::string& name, mode_t mode) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n";
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(ProgramTest, IsLookedForOnPathOrTakenAsAPath) {
  const std::string path = Write("there", 0755);
  EXPECT_TRUE(FindProgram("there").ok());
  EXPECT_TRUE(FindProgram(path).ok());
  const absl::Status missing = FindProgram("not-there");
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("not-there on PATH"));
  EXPECT_TRUE(absl::IsNotFound(FindProgram(path + "-not")));
  EXPECT_TRUE(absl::IsNotFound(FindProgram("")));
}

TEST_F(ProgramTest, MustBeExecutable) {
  EXPECT_TRUE(absl::IsPermissionDenied(FindProgram(Write("text", 0644))));
  EXPECT_TRUE(absl::IsPermissionDenied(FindProgram("text")));
  EXPECT_TRUE(absl::IsPermissionDenied(FindProgram(directory_ + "/")));
}

TEST_F(ProgramTest, IsLookedForInAnotherSearchPath) {
  const std::string path = Write("tool", 0755);
  EXPECT_EQ(FindOnPath("tool", "/nonexistent:" + directory_ + ":/usr/bin")->string(), path);
  EXPECT_FALSE(FindOnPath("tool", "/nonexistent"));
  EXPECT_TRUE(IsProgram(path));
  EXPECT_FALSE(IsProgram(Write("text", 0644)));
  EXPECT_FALSE(IsProgram(directory_));
}

}  // namespace
}  // namespace ballast::base
