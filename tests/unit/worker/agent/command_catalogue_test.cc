#include "worker/agent/command_catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/config/yaml.h"

namespace ballast::agent {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kConfig[] = R"(
data_dir: /var/lib/ballast
commands:
  - command_id: photo-import
    program: /bin/sh
    arguments: ["--batch={batch}", "{{raw}}", "/srv/{where}/{where}", "plain"]
    parameters:
      - {name: batch, pattern: "[0-9]{1,4}", default_value: "100"}
      - {name: where, pattern: ".*"}
    working_directory: /srv
    environment: {MODE: fast, LANG: zh_CN.UTF-8}
  - command_id: bare
    program: /no/such/program
)";

class CommandCatalogueTest : public testing::Test {
 protected:
  static absl::StatusOr<CommandCatalogue> Read(const std::string& yaml) {
    v1::WorkerConfig config;
    const absl::Status read = config::ReadYaml(yaml, "worker.yaml", &config);
    EXPECT_TRUE(read.ok()) << read;
    return CommandCatalogue::Create(config.commands(), "/var/lib/ballast", [](const char* name) {
      const std::string_view variable = name;
      return variable == "PATH" || variable == "LANG" ? std::optional<std::string>(std::string("worker's ") + name)
                                                      : std::nullopt;
    });
  }
  static v1::CommandWorkload Wish(const std::string& command_id,
                                  const std::map<std::string, std::string>& parameters = {}) {
    v1::CommandWorkload workload;
    workload.set_command_id(command_id);
    for (const auto& [name, value] : parameters) (*workload.mutable_parameters())[name] = value;
    return workload;
  }
  absl::StatusOr<v1::CommandTask> Resolve(const std::string& command_id,
                                          const std::map<std::string, std::string>& parameters = {}) {
    return catalogue_.Resolve(Wish(command_id, parameters));
  }

  CommandCatalogue catalogue_ = Read(kConfig).value();
};

TEST_F(CommandCatalogueTest, FillsParametersIn) {
  const auto task = Resolve("photo-import", {{"where", "x"}});
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_THAT(task->argv(), ElementsAre("/bin/sh", "--batch=100", "{raw}", "/srv/x/x", "plain"));
  EXPECT_EQ(task->working_directory(), "/srv");
  EXPECT_THAT(task->environment(), ElementsAre("LANG=zh_CN.UTF-8", "MODE=fast", "PATH=worker's PATH"));
  EXPECT_EQ(Resolve("photo-import", {{"where", "y"}, {"batch", "7"}})->argv(1), "--batch=7");
  EXPECT_EQ(Resolve("bare")->working_directory(), "/var/lib/ballast");
}

TEST_F(CommandCatalogueTest, AValueStaysOneArgumentWhateverIsInIt) {
  for (const std::string value :
       {"a b", "$(reboot)", "`id`", "'; rm -rf / #", "{batch}", "{{", "\"", "-rf", "内存", ""}) {
    const auto task = Resolve("photo-import", {{"where", value}});
    ASSERT_TRUE(task.ok()) << task.status();
    EXPECT_EQ(task->argv_size(), 5);
    EXPECT_EQ(task->argv(3), "/srv/" + value + "/" + value);
  }
}

TEST_F(CommandCatalogueTest, RefusesWhatTheConfigurationDoesNotAllow) {
  const auto expect = [&](const absl::StatusOr<v1::CommandTask>& task, absl::StatusCode code, const auto& matcher) {
    EXPECT_EQ(task.status().code(), code);
    EXPECT_THAT(std::string(task.status().message()), matcher);
  };
  using enum absl::StatusCode;
  expect(Resolve("photo-imprt"), kNotFound, AllOf(HasSubstr("'photo-imprt'"), HasSubstr("bare, photo-import")));
  expect(CommandCatalogue().Resolve(Wish("x")), kNotFound, HasSubstr("names none"));
  expect(Resolve("photo-import"), kInvalidArgument, AllOf(HasSubstr("'where'"), HasSubstr(".*")));
  expect(Resolve("photo-import", {{"where", "x"}, {"batch", "12345"}}), kInvalidArgument,
         AllOf(HasSubstr("'batch'"), HasSubstr("[0-9]{1,4}"), HasSubstr("'12345'")));
  expect(Resolve("photo-import", {{"where", "x"}, {"batch", "1; reboot"}}), kInvalidArgument, HasSubstr("[0-9]{1,4}"));
  expect(Resolve("photo-import", {{"where", "x\ny"}}), kInvalidArgument, HasSubstr("where"));
  expect(Resolve("photo-import", {{"where", std::string("x\0y", 3)}}), kInvalidArgument, HasSubstr("where"));
  expect(Resolve("photo-import", {{"where", "x"}, {"program", "/bin/rm"}}), kInvalidArgument,
         AllOf(HasSubstr("no parameter 'program'"), HasSubstr("batch, where")));
  expect(Resolve("bare", {{"a", "b"}}), kInvalidArgument, HasSubstr("it has none"));
}

TEST_F(CommandCatalogueTest, AConfigurationThatMakesNoSenseIsRefusedWithEachPlace) {
  const auto catalogue = Read(R"(
data_dir: /d
commands:
  - command_id: a
    program: /bin/a
    arguments: ["{unknown}", "fine", "{", "}"]
    parameters:
      - {name: n, pattern: "[0-9"}
      - {name: m, pattern: "[0-9]+", default_value: none}
)");
  ASSERT_EQ(catalogue.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(catalogue.status().message());
  for (const char* place :
       {"commands[0].arguments[0]: 'unknown'", "commands[0].arguments[2]:", "commands[0].arguments[3]:",
        "commands[0].parameters[0].pattern:", "commands[0].parameters[1].default_value: 'none'"}) {
    EXPECT_THAT(message, HasSubstr(place));
  }
  EXPECT_THAT(message, Not(HasSubstr("arguments[1]")));
}

TEST_F(CommandCatalogueTest, FactsNameTheCommandsAndWhatKeepsOneFromRunning) {
  v1::DeviceFacts facts;
  catalogue_.AddFacts(&facts);
  EXPECT_THAT(facts.command_ids(), ElementsAre("photo-import", "bare"));
  EXPECT_THAT(facts.limitations(), Contains(AllOf(HasSubstr("bare"), HasSubstr("/no/such/program"))));
  EXPECT_THAT(facts.limitations(), Not(Contains(HasSubstr("/bin/sh"))));
}

TEST_F(CommandCatalogueTest, AnotherUserHasAHomeOfItsOwn) {
  const auto catalogue = Read("data_dir: /d\ncommands: [{command_id: a, program: /bin/a, user: root}]\n");
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  const auto task = catalogue->Resolve(Wish("a"));
  ASSERT_TRUE(task.ok());
  EXPECT_EQ(task->user(), "root");
  EXPECT_THAT(task->environment(), testing::IsSupersetOf({"HOME=/root", "USER=root", "LOGNAME=root"}));
}

}  // namespace
}  // namespace ballast::agent
