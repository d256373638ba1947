#include "coordinator/rpc/coordinator_flags.h"

#include <cstdlib>
#include <filesystem>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

class CoordinatorFlagsTest : public testing::Test {
 protected:
  CoordinatorFlagsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-flags-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~CoordinatorFlagsTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& text) {
    const std::filesystem::path file = directory_ / "coordinator.yaml";
    EXPECT_TRUE(base::WriteFileAtomically(file, text).ok());
    return file.string();
  }

  std::filesystem::path directory_;
};

TEST_F(CoordinatorFlagsTest, FlagsFillInTheConfiguration) {
  const auto command =
      ParseCoordinatorCommand({"--data-dir", "/d", "--listen", "unix:/s", "--log-level", "debug",
                               "--heartbeat-interval", "500ms", "--offline-after", "10", "--insecure"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.data_dir(), "/d");
  EXPECT_EQ(command->config.listen(), "unix:/s");
  EXPECT_EQ(command->config.log_level(), "debug");
  EXPECT_EQ(command->config.heartbeat_interval().nanos(), 500'000'000);
  EXPECT_EQ(command->config.offline_after().seconds(), 10);
  EXPECT_TRUE(command->config.insecure());
}

TEST_F(CoordinatorFlagsTest, WhatIsNotGivenHasItsDefault) {
  const auto command = ParseCoordinatorCommand({"--data-dir", "/d"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.listen(), "127.0.0.1:7850");
  EXPECT_EQ(command->config.heartbeat_interval().seconds(), 2);
  EXPECT_EQ(command->config.offline_after().seconds(), 15);
  EXPECT_FALSE(command->config.insecure());
}

TEST_F(CoordinatorFlagsTest, FlagsWinOverTheFile) {
  const std::string file = Write("listen: 127.0.0.1:1\noffline_after: 20s\n");
  const auto command = ParseCoordinatorCommand({"--config", file, "--data-dir", "/d", "--listen", "127.0.0.1:2"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.data_dir(), "/d");
  EXPECT_EQ(command->config.listen(), "127.0.0.1:2");
  EXPECT_EQ(command->config.offline_after().seconds(), 20);
}

TEST_F(CoordinatorFlagsTest, MistakesAreNamedWithTheirPlace) {
  const auto message = [](const std::vector<std::string>& arguments) {
    const absl::Status status = ParseCoordinatorCommand(arguments).status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  };
  EXPECT_THAT(message({}), HasSubstr("--data-dir"));
  EXPECT_THAT(message({"--data-dir", "/d", "--listn", "x"}), HasSubstr("--listn"));
  EXPECT_THAT(message({"--data-dir", "/d", "--offline-after", "soon"}), HasSubstr("--offline-after soon"));
  EXPECT_THAT(message({"--data-dir", "/d", "--heartbeat-interval", "15s"}), HasSubstr("must be below offline_after"));
  EXPECT_THAT(message({"--data-dir", "/d", "--log-level", "loud"}), HasSubstr("--log-level loud"));
  EXPECT_THAT(message({"--data-dir", "/d", "--config", (directory_ / "none.yaml").string()}), HasSubstr("none.yaml"));
  EXPECT_THAT(message({"--config", Write("data_dir: /d\nlisen: x\n")}), HasSubstr("coordinator.yaml:2:1"));
}

TEST_F(CoordinatorFlagsTest, NamesOfTheServerAreHostsAndAddresses) {
  const std::string good = Write("data_dir: /d\nserver_names: [lab.example.org, 10.0.0.7, '::1']\n");
  const std::string file = (directory_ / "coordinator.yaml").string();
  EXPECT_TRUE(ParseCoordinatorCommand({"--config", good}).ok());
  Write("data_dir: /d\nserver_names:\n  - lab\n  - lab:7850\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--config", file}, std::vector<std::string>{"init", "--config", file}}) {
    const absl::Status status = ParseCoordinatorCommand(arguments).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("coordinator.yaml:4:5: server_names[1]: 'lab:7850' is a name with a port"));
  }
}

TEST_F(CoordinatorFlagsTest, PrintsVersionAndHelp) {
  for (const char* flag : {"--version", "--help"}) {
    const auto command = ParseCoordinatorCommand({flag});
    ASSERT_TRUE(command.ok()) << command.status();
    EXPECT_EQ(command->kind, CoordinatorCommand::Kind::kPrint);
    EXPECT_THAT(command->text, HasSubstr("ballast-coordinator"));
  }
}

}  // namespace
}  // namespace ballast::coordinator
