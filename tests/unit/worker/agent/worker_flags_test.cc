#include "worker/agent/worker_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/base/clock.h"
#include "common/base/next_step.h"
#include "common/tls/join_token.h"
#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {
namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class WorkerFlagsTest : public AgentFixture {
 protected:
  std::string Write(const std::string& text) {
    const std::filesystem::path file = directory_ / "worker.yaml";
    std::ofstream(file) << text;
    return file.string();
  }
  static void ExpectError(const std::vector<std::string>& arguments, const std::string& needle) {
    const auto command = ParseWorkerCommand(arguments);
    ASSERT_FALSE(command.ok()) << needle;
    EXPECT_THAT(std::string(command.status().message()), HasSubstr(needle));
  }
};

TEST_F(WorkerFlagsTest, FlagsAloneAreEnough) {
  const auto command =
      ParseWorkerCommand({"--data-dir", "/d", "--labels", "class=low-end,site=lab 1,empty=", "--device-id", "k-7",
                          "--spool-quota", "2GiB", "--reconnect-max", "90s", "--insecure"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->kind, WorkerCommand::Kind::kServe);
  EXPECT_EQ(command->config.data_dir(), "/d");
  EXPECT_EQ(command->config.coordinator(), "127.0.0.1:7850");
  EXPECT_EQ(command->config.device_id(), "k-7");
  EXPECT_EQ(command->config.spool_quota_bytes(), 2ULL << 30U);
  EXPECT_EQ(base::FromProto(command->config.reconnect_max()), std::chrono::seconds(90));
  EXPECT_EQ(command->config.log_level(), "info");
  EXPECT_TRUE(command->config.insecure());
  EXPECT_THAT(command->config.labels(),
              UnorderedElementsAre(Pair("class", "low-end"), Pair("site", "lab 1"), Pair("empty", "")));
}

TEST_F(WorkerFlagsTest, FlagsWinOverTheFileAndFillWhatItLeavesOut) {
  const std::string file = Write("coordinator: 10.0.0.1:1\nlog_level: debug\nlabels: {class: a, site: b}\n");
  const auto command =
      ParseWorkerCommand({"--config", file, "--data-dir", "/d", "--log-level", "warn", "--labels", "class=c"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.coordinator(), "10.0.0.1:1");
  EXPECT_EQ(command->config.log_level(), "warn");
  EXPECT_EQ(command->config.data_dir(), "/d");
  EXPECT_THAT(command->config.labels(), UnorderedElementsAre(Pair("class", "c"), Pair("site", "b")));
}

TEST_F(WorkerFlagsTest, ErrorsNameTheFlagOrThePlace) {
  ExpectError({"--nonsense"}, "--nonsense");
  ExpectError({}, "--data-dir");
  ExpectError({"--data-dir", "/d", "--log-level", "loud"}, "--log-level loud");
  ExpectError({"--data-dir", "/d", "--spool-quota", "1B"}, "--spool-quota 1B");
  ExpectError({"--data-dir", "/d", "--device-id", "a b"}, "--device-id a b");
  ExpectError({"--data-dir", "/d", "--labels", "class"}, "'class' is not KEY=VALUE");
  ExpectError({"--config", Write("data_dir: /d\nlog_lvel: info\n")}, "worker.yaml:2:1");
  ExpectError({"--config", (directory_ / "missing.yaml").string()}, "missing.yaml");
}

// An empty one too: a variable that was not set must not make a worker that stays a stranger.
TEST_F(WorkerFlagsTest, AJoinTokenIsReadBeforeAnythingIsMade) {
  for (const char* join : {"", "@lab:7850", "garbage", "garbage@lab:7850"}) {
    ExpectError({"--data-dir", "/d", "--join", join}, "join token");
  }
  ExpectError({"--config", Write("join: ''\n"), "--data-dir", "/d"}, "join token");
  const auto none = ParseWorkerCommand({"--data-dir", "/d"});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->config.has_join());
}

TEST_F(WorkerFlagsTest, AMistakeInTheFileIsMendedThere) {
  const auto expect = [this](const std::string& commands, const std::string& needle) {
    const std::string file = Write("data_dir: /d\ncommands:\n  - " + commands);
    ExpectError({"--config", file}, needle);
    EXPECT_EQ(base::NextStepOf(ParseWorkerCommand({"--config", file}).status()), "mend " + file);
  };
  expect("{command_id: a, program: rel}\n", "worker.yaml:3:30: ");
  expect("command_id: a\n    program: /bin/a\n    arguments: [\"{b}\"]\n",
         "worker.yaml:5:17: commands[0].arguments[0]: 'b' is not a parameter of this command");
  expect("command_id: a\n    program: /bin/a\n    parameters:\n      - {name: b, pattern: \"[\"}\n",
         "worker.yaml:6:28: commands[0].parameters[0].pattern: ");
  expect("command_id: a\n    program: /bin/a\n    parameters:\n      - {name: b, pattern: x, default_value: y}\n",
         "worker.yaml:6:46: commands[0].parameters[0].default_value: 'y' does not match the pattern x");
  EXPECT_EQ(base::NextStepOf(ParseWorkerCommand({"--data-dir", "/d", "--log-level", "loud"}).status()), std::nullopt);
}

TEST_F(WorkerFlagsTest, LabelsThatACoordinatorWouldRefuseAreNamedAtTheStart) {
  const auto in_file = [this](const std::string& labels, const std::string& needle) {
    ExpectError({"--config", Write("data_dir: /d\nlabels:\n" + labels)}, needle);
  };
  in_file("  class: a\n  my site: lab-1\n", "worker.yaml:4:12: labels.my site: label 'my site': a key has 1 to 128");
  in_file("  site: a,b\n", "worker.yaml:3:9: labels.site: label 'site': a value has at most 128");
  in_file("  \"a\\n\": b\n", "worker.yaml:2:1: labels: label 'a\\n': a key");
  std::string many;
  for (int i = 0; i < 64; ++i) many += "  k" + std::to_string(i) + ": x\n";
  in_file(many + "  k64: x\n", "worker.yaml:2:1: labels: there are 65 labels; a device may have 64");
  EXPECT_TRUE(ParseWorkerCommand({"--config", Write("data_dir: /d\nlabels:\n" + many)}).ok());
  // A flag is not blamed on the file.
  const std::string file = Write("data_dir: /d\nlabels: {class: a}\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--data-dir", "/d"}, std::vector<std::string>{"--config", file}}) {
    std::vector<std::string> with_labels = arguments;
    with_labels.insert(with_labels.end(), {"--labels", "a b=c"});
    EXPECT_THAT(std::string(ParseWorkerCommand(with_labels).status().message()),
                testing::StartsWith("--labels: label 'a b': a key has 1 to 128 bytes"));
  }
}

TEST_F(WorkerFlagsTest, ATokenForAnotherDeviceIsNotUsedUp) {
  const auto join = [](v1::Role role, const std::string& name) {
    return *tls::MakeJoinToken(role, name, std::chrono::minutes(1), base::SystemTime(std::chrono::hours(1)),
                               std::string(64, 'a'), "secret") +
           "@lab:7850";
  };
  const absl::Status status =
      ParseWorkerCommand({"--data-dir", "/d", "--device-id", "q2", "--join", join(v1::WORKER, "q1")}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "the join token is for device 'q1', and --device-id says 'q2'");
  EXPECT_THAT(base::NextStepOf(status).value_or(""), HasSubstr("ballast token create --role worker --name q2"));
  for (const std::string& good : {join(v1::WORKER, "q2"), join(v1::WORKER, "")}) {
    EXPECT_TRUE(ParseWorkerCommand({"--data-dir", "/d", "--device-id", "q2", "--join", good}).ok());
  }
  EXPECT_TRUE(ParseWorkerCommand({"--data-dir", "/d", "--join", join(v1::WORKER, "q1")}).ok());
}

TEST_F(WorkerFlagsTest, OtherThingsToDo) {
  const auto help = ParseWorkerCommand({"--help"});
  ASSERT_TRUE(help.ok()) << help.status();
  EXPECT_EQ(help->kind, WorkerCommand::Kind::kPrint);
  EXPECT_THAT(help->text, HasSubstr("--coordinator"));
  EXPECT_THAT(help->text, testing::Not(HasSubstr("--runner"))) << "that is between the agent and itself";
  EXPECT_THAT(ParseWorkerCommand({"--version"})->text, HasSubstr("ballast-worker "));
  EXPECT_EQ(ParseWorkerCommand({"--print-facts"})->kind, WorkerCommand::Kind::kPrintFacts);
  EXPECT_EQ(ParseWorkerCommand({"--runner"})->kind, WorkerCommand::Kind::kRun);
}

TEST_F(WorkerFlagsTest, WhatIsBehindTheMarkIsTheCommands) {
  const auto command =
      ParseWorkerCommand({"--run-environment", "/dev/fd/3", "--", "prog", "--help", "[a,b]", "--", "", "--config"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->kind, WorkerCommand::Kind::kEnvironment);
  EXPECT_EQ(command->text, "/dev/fd/3");
  EXPECT_THAT(command->argv, testing::ElementsAre("prog", "--help", "[a,b]", "--", "", "--config"));
  ExpectError({"--run-environment", "f.yaml"}, "-- COMMAND");
  ExpectError({"--run-environment", "f.yaml", "--"}, "-- COMMAND");
  ExpectError({"--data-dir", "/d", "--", "prog"}, "--run-environment FILE");
}

}  // namespace
}  // namespace ballast::agent
