#include "worker/memory/runner_program.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/installed_runner.h"

namespace ballast::memory {
namespace {

using ::testing::HasSubstr;

class RunnerProgramTest : public ::testing::Test {
 protected:
  RunnerProgramTest() {
    std::string name = testing::TempDir() + "/ballast_runner_program_XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~RunnerProgramTest() override {
    NoteInstalledRunner(nullptr);
    ::unsetenv("BALLAST_RUNNER");
    std::filesystem::remove_all(directory_);
  }
  std::filesystem::path Program(const std::string& name) const {
    std::ofstream(directory_ / name) << "#!/bin/sh\n";
    EXPECT_EQ(::chmod((directory_ / name).c_str(), 0755), 0);
    return directory_ / name;
  }

  std::filesystem::path directory_;
};

TEST_F(RunnerProgramTest, TheFirstThatIsNamedIsTaken) {
  const std::string installed = Program("installed");
  NoteInstalledRunner(installed.c_str());
  EXPECT_EQ(FindRunner({}).value(), installed);
  const std::filesystem::path variable = Program("variable");
  ::setenv("BALLAST_RUNNER", variable.c_str(), 1);
  EXPECT_EQ(FindRunner({}).value(), variable);
  const std::filesystem::path given = Program("given");
  EXPECT_EQ(FindRunner(given).value(), given);
}

TEST_F(RunnerProgramTest, WhatIsNamedMustBeThere) {
  EXPECT_TRUE(absl::IsNotFound(FindRunner(directory_ / "none").status()));
  std::ofstream(directory_ / "text") << "no program";
  EXPECT_TRUE(absl::IsPermissionDenied(FindRunner(directory_ / "text").status()));
  ::setenv("BALLAST_RUNNER", (directory_ / "none").c_str(), 1);
  EXPECT_THAT(FindRunner({}).status().message(), HasSubstr("BALLAST_RUNNER"));
}

TEST_F(RunnerProgramTest, WhereThereIsNoneItSaysWhereItLooked) {
  const std::string gone = directory_ / "gone";
  NoteInstalledRunner(gone.c_str());
  std::filesystem::create_symlink(directory_ / "program", directory_ / "self");
  const absl::Status status = FindRunner({}, directory_ / "self").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr(gone));
  EXPECT_THAT(status.message(), HasSubstr("libexec/ballast/ballast-runner"));
  const std::filesystem::path beside = Program("ballast-runner");
  EXPECT_EQ(FindRunner({}, directory_ / "self").value(), beside);
}

}  // namespace
}  // namespace ballast::memory
