#include "ballast/environment_simulator.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"

namespace ballast {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class EnvironmentSimulatorTest : public ::testing::Test {
 protected:
  EnvironmentSimulatorTest() {
    std::string name = testing::TempDir() + "/ballast_simulator_test_XXXXXX";
    directory_ = ::mkdtemp(name.data());
    std::ofstream(directory_ / "environments.yaml") << "environments:\n  - {name: small, memory_bytes: 64MiB}\n";
    simulator_ = *EnvironmentSimulator::Create(
        {.environment_file = directory_ / "environments.yaml", .runner_program = RUNNER_PROGRAM});
  }
  ~EnvironmentSimulatorTest() override { std::filesystem::remove_all(directory_); }

  // A program in the engine's place, first on PATH: keeps its calls, keeps to every limit, and says that the container
  // ended in this state. `answers` are lines of sh that come before its own.
  void UseEngine(const std::string& state, const std::string& answers = "") {
    const std::filesystem::path program = directory_ / "docker";
    std::ofstream(program) << fmt::format(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}/calls\n{}\n"
        "case $1 in\n"
        "  create) echo 0123456789abcdef ;;\n"
        "  inspect) case $3 in *Pid*) echo 0 ;; *Status*) echo {} ;; *) echo 67108864 67108864 ;; esac ;;\n"
        "esac\n",
        directory_.string(), answers, state);
    ASSERT_EQ(::chmod(program.c_str(), 0755), 0);
    if (path_.empty()) path_ = std::getenv("PATH");
    ::setenv("PATH", fmt::format("{}:{}", directory_.string(), path_).c_str(), 1);
  }
  void TearDown() override {
    if (!path_.empty()) ::setenv("PATH", path_.c_str(), 1);
  }

  std::filesystem::path directory_;
  std::unique_ptr<EnvironmentSimulator> simulator_;
  std::string path_;
};

TEST_F(EnvironmentSimulatorTest, ListsTheUsersProfilesAndThoseThatComeWithIt) {
  std::ostringstream out;
  simulator_->PrintProfiles(out);
  EXPECT_THAT(out.str(), StartsWith("small\n  memory 64"));
  for (const char* const name :
       {"4GB连线", "极限2GB模式", "手机模拟", "老旧设备", "4gb-swap", "2gb-noswap", "phone-3gb", "old-2.5gb"}) {
    EXPECT_THAT(out.str(), HasSubstr(name));
  }
  EXPECT_EQ(simulator_->profiles().environments(0).name(), "small");
  EXPECT_EQ(simulator_->FindProfile("2GB-NoSwap")->name(), "极限2GB模式");
  EXPECT_THAT(simulator_->FindProfile("2gb-noswop").status().message(), HasSubstr("2gb-noswap"));
}

TEST_F(EnvironmentSimulatorTest, AMistakeInTheUsersFileNamesItsPlace) {
  std::ofstream(directory_ / "bad.yaml") << "environments:\n  - {name: small, memory: 64MiB}\n";
  EXPECT_THAT(
      std::string(EnvironmentSimulator::Create({.environment_file = directory_ / "bad.yaml"}).status().message()),
      HasSubstr("bad.yaml:2:19"));
}

TEST_F(EnvironmentSimulatorTest, TheDockerCommandIsQuoted) {
  const auto text = simulator_->GenerateDockerCommand("极限2GB模式", "ballast simple --mode=burst && echo 'done'");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(StartsWith("docker run "), HasSubstr("--memory="), HasSubstr(" ballast sh -c ")));
  EXPECT_THAT(*text, HasSubstr(R"('ballast simple --mode=burst && echo '\''done'\''')"));
  const auto words = simulator_->GenerateDockerCommand("small", std::vector<std::string>{"echo", "a b"},
                                                       {.engine = "podman", .image = "mine:1"});
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_THAT(*words, AllOf(StartsWith("podman run "), ::testing::EndsWith(" mine:1 echo 'a b'")));
  EXPECT_TRUE(
      absl::IsInvalidArgument(simulator_->GenerateDockerCommand("small", "true", {.engine = "dokcer"}).status()));
}

TEST_F(EnvironmentSimulatorTest, WritesScriptsForBothShells) {
  const std::filesystem::path shell = directory_ / "test.sh";
  ASSERT_TRUE(simulator_->CreateTestScript("4GB连线", shell).ok());
  EXPECT_THAT(base::ReadFile(shell).value(), AllOf(StartsWith("#!/bin/sh"), HasSubstr("4GB连线")));
  struct stat info {};
  ASSERT_EQ(::stat(shell.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0755U);
  const std::filesystem::path batch = directory_ / "test.BAT";
  ASSERT_TRUE(simulator_->CreateTestScript("4gb-swap", batch).ok());
  EXPECT_THAT(base::ReadFile(batch).value(), AllOf(HasSubstr("\r\n"), HasSubstr("docker run")));
  EXPECT_TRUE(absl::IsNotFound(simulator_->CreateTestScript("none", shell)));
}

TEST_F(EnvironmentSimulatorTest, RunsACommandInTheProfile) {
  const auto result = simulator_->Run("small", {"sh", "-c", "exit 7"});
  ASSERT_TRUE(result.ok()) << result.status();
  if (result->outcome().kind() == v1::ENVIRONMENT_REFUSED) GTEST_SKIP() << result->outcome().message();
  EXPECT_EQ(result->outcome().kind(), v1::COMMAND_FAILED);
  EXPECT_EQ(result->outcome().evidence().exit_code(), 7);
  EXPECT_EQ(result->environment().memory_bytes(), std::uint64_t{64} << 20U) << "as the kernel gave it back";
  EXPECT_EQ(simulator_->Run("small", {"true"})->outcome().kind(), v1::COMPLETED);
  EXPECT_EQ(simulator_->Run("small", {"/no/such/program"})->outcome().kind(), v1::INVALID);
  EXPECT_TRUE(absl::IsInvalidArgument(simulator_->Run("small", {}).status()));
  EXPECT_TRUE(absl::IsNotFound(simulator_->Run("none", {"true"}).status()));
}

TEST_F(EnvironmentSimulatorTest, ACommandThatTakesMoreIsKilledAndTheProgramIsNot) {
  // Doubles a text until it cannot: at most 2 GiB where no limit holds.
  const auto result = simulator_->Run(
      "small", {"sh", "-c", "a=0123456789abcdef; i=0; while [ $i -lt 27 ]; do a=$a$a; i=$((i+1)); done"});
  ASSERT_TRUE(result.ok()) << result.status();
  if (result->outcome().kind() == v1::ENVIRONMENT_REFUSED) GTEST_SKIP() << result->outcome().message();
  EXPECT_EQ(result->outcome().kind(), v1::OOM_KILLED) << result->outcome().message();
  EXPECT_GE(result->outcome().evidence().cgroup_oom_kill_count(), 1U);
}

TEST_F(EnvironmentSimulatorTest, RunsAContainerByTheEngineAndRemovesIt) {
  UseEngine("exited 0 false");
  const auto result = simulator_->RunContainer("small", {"echo", "a b"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome().kind(), v1::COMPLETED) << result->outcome().message();
  EXPECT_THAT(base::ReadFile(directory_ / "calls").value(),
              AllOf(HasSubstr("--memory=64m --memory-swap=64m ballast echo a b\n"), HasSubstr("\nstart --attach"),
                    HasSubstr("\nrm --force ballast-env-")));
}

TEST_F(EnvironmentSimulatorTest, WhatBecameOfTheContainerIsTold) {
  UseEngine("exited 137 true");
  EXPECT_EQ(simulator_->RunContainer("small", {"true"})->outcome().kind(), v1::OOM_KILLED);
  EXPECT_EQ(simulator_->RunContainer("small", {"true"})->outcome().evidence().killer(), v1::KERNEL_MEMCG_OOM);
  UseEngine("exited 137 false");
  EXPECT_EQ(simulator_->RunContainer("small", {"true"})->outcome().kind(), v1::COMMAND_FAILED);
  EXPECT_THAT(simulator_->RunContainer("small", {"true"})->outcome().message(), HasSubstr("killed"));
  UseEngine("exited 7 false");
  EXPECT_EQ(simulator_->RunContainer("small", {"true"})->outcome().evidence().exit_code(), 7);
  UseEngine("created 0 false",
            "case \"$*\" in 'start ballast'*) echo 'exec: executable file not found' >&2; exit 1 ;; esac");
  EXPECT_EQ(simulator_->RunContainer("small", {"true"})->outcome().kind(), v1::INVALID);
}

TEST_F(EnvironmentSimulatorTest, AnEngineThatKeepsNotToTheLimitsIsRefused) {
  UseEngine("exited 0 false", "case $3 in *HostConfig*) echo 67108864 -1; exit ;; esac");
  auto result = simulator_->RunContainer("small", {"true"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome().kind(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(result->outcome().message(), AllOf(HasSubstr("docker discarded a limit of small"), HasSubstr("; try: ")));
  UseEngine("", "[ $1 != create ] || { echo 'Error: No such image: ballast' >&2; exit 125; }");
  result = simulator_->RunContainer("small", {"true"});
  EXPECT_EQ(result->outcome().kind(), v1::ENVIRONMENT_REFUSED);
  EXPECT_THAT(result->outcome().message(), HasSubstr("(Error: No such image: ballast)"));
}

TEST_F(EnvironmentSimulatorTest, AMissingEngineIsNamed) {
  path_ = std::getenv("PATH");
  ::setenv("PATH", directory_.c_str(), 1);
  const absl::Status status = simulator_->RunContainer("small", {"true"}, {.engine = "podman"}).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("podman is not installed"));
}

}  // namespace
}  // namespace ballast
