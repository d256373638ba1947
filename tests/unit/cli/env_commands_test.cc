// ballast env and --env: which profiles there are, and what becomes of their names.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "common/base/file.h"
#include "common/config/yaml.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class EnvCommandsTest : public CommandTest {
 protected:
  EnvCommandsTest() { variables_["BALLAST_COORDINATOR"] = coordinator_.address(); }

  std::string Write(const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }
  std::string WriteFile(const std::string& text) { return Write(directory_.path() / "mine.yaml", text); }
  std::string WriteUsers(const std::string& text) {
    return Write(std::filesystem::path(variables_["HOME"]) / ".config" / "ballast" / "environments.yaml", text);
  }
  [[nodiscard]] const v1::JobSpec& Submitted() const { return coordinator_.submitted.back().spec(); }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(EnvCommandsTest, ListShowsTheUsersBeforeTheProgramsInThreeForms) {
  const std::string file = WriteFile("environments: [{name: mine, memory_bytes: 64MiB, cpus: 1.5}]\n");
  ASSERT_EQ(Run({"env", "list", "--env-file", file}), 0) << err();
  EXPECT_THAT(out(), StartsWith("NAME"));
  EXPECT_LT(out().find("mine"), out().find("4GB连线"));
  EXPECT_THAT(out(), HasSubstr("2gb-noswap"));
  EXPECT_THAT(out(), HasSubstr("3.71 GiB"));
  ASSERT_EQ(Run({"env", "list", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"name\": \"极限2GB模式\""));
  EXPECT_THAT(out(), Not(HasSubstr("mine")));
  ASSERT_EQ(Run({"env", "list", "--output", "csv"}), 0);
  EXPECT_THAT(out(), HasSubstr("\r\n极限2GB模式,2gb-noswap,2147483648,0,NONE,0,,0,0,0,0,AS_IS,"));
}

TEST_F(EnvCommandsTest, ShowTakesNamesAndAliases) {
  ASSERT_EQ(Run({"env", "show", "4GB-SWAP"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("name:              4GB连线\n"));
  EXPECT_THAT(out(), HasSubstr("swap:              2 GiB\n"));
  ASSERT_EQ(Run({"env", "show", "老旧设备", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"memory_bytes\": 2684354560"));
  EXPECT_EQ(Run({"env", "show", "2gb-noswp"}), 4);
  EXPECT_EQ(
      err(),
      "error: there is no environment profile '2gb-noswp'; did you mean '2gb-noswap'?\n  try: ballast env list\n");
  EXPECT_EQ(Run({"env", "show"}), 2);
  EXPECT_THAT(err(), HasSubstr("the name of the environment is missing"));
}

TEST_F(EnvCommandsTest, AProfileMayBeCalledLikeACommand) {
  const std::string file =
      WriteFile("environments: [{name: list, memory_bytes: 64MiB}, {name: env, memory_bytes: 64MiB}]\n");
  for (const char* const name : {"list", "env"}) {
    ASSERT_EQ(Run({"env", "show", name, "--env-file", file}), 0) << err();
    EXPECT_THAT(out(), HasSubstr(std::string("name:              ") + name + "\n"));
    ASSERT_EQ(Run({"env", "show-docker", name, "--env-file", file}), 0) << err();
  }
  WriteProgram("ballast-worker", "echo \"$@\"\n");
  EXPECT_EQ(Run({"env", "run", "list", "--env-file", file}), 2);
  EXPECT_THAT(err(), HasSubstr("the command, behind --, is missing"));
  EXPECT_EQ(Run({"env", "list", "show"}), 2);
  EXPECT_THAT(err(), HasSubstr("ballast env list does not take 'show'"));
}

TEST_F(EnvCommandsTest, TheyAskNoCoordinatorAndSaySo) {
  EXPECT_EQ(Run({"env", "list", "--coordinator", "lab:7850"}), 2);
  EXPECT_THAT(err(), HasSubstr("has no flag '--coordinator'"));
  EXPECT_EQ(Run({"env", "--coordinator", "lab:7850", "list"}), 2);
  ASSERT_EQ(Run({"env", "--help"}), 0);
  EXPECT_THAT(out(), HasSubstr("A coordinator may have others"));
}

TEST_F(EnvCommandsTest, ShowDockerQuotesForTheShellThatIsNamed) {
  ASSERT_EQ(Run({"env", "show-docker", "4GB连线", "--image", "debian:12", "--", "sh", "-c", "echo \"100%\""}), 0)
      << err();
  EXPECT_EQ(out(), "docker run --rm --memory=3800m --memory-swap=5848m debian:12 sh -c 'echo \"100%\"'\n");
  ASSERT_EQ(Run({"env", "show-docker", "2gb-noswap", "--shell", "cmd", "--", "x", "100%", "a b"}), 0);
  EXPECT_EQ(out(), "docker run --rm --memory=2048m --memory-swap=2048m ballast x ^\"100^%^\" ^\"a b^\"\n");
  ASSERT_EQ(Run({"env", "show-docker", "2gb-noswap", "--shell", "bat", "--", "100%"}), 0);
  EXPECT_THAT(out(), HasSubstr("^\"100%%^\"\n"));
  ASSERT_EQ(Run({"env", "show-docker", "--engine", "podman"}), 0);
  EXPECT_THAT(out(), HasSubstr("# 手机模拟\npodman run --rm --memory=3072m --memory-swap=3072m ballast\n"));
  ASSERT_EQ(Run({"env", "show-docker", "手机模拟", "old-2.5gb", "--output", "json", "--", "--help"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"argv\": [\"docker\", \"run\", \"--rm\", \"--memory=3072m\", \"--memory-swap=3072m\", "
                               "\"ballast\", \"--help\"], \"remarks\": []}"));
  EXPECT_EQ(Run({"env", "show-docker", "--engine", "dokcer"}), 2);
  EXPECT_THAT(err(), HasSubstr("--engine: 'dokcer' is no container engine; did you mean 'docker'?"));
  EXPECT_EQ(Run({"env", "show-docker", "--shell", "fish"}), 2);
  EXPECT_EQ(Run({"env", "show-docker", "--shell", "cmd", "--", "a\nb"}), 2);
  EXPECT_THAT(err(), HasSubstr("has a line end"));
}

TEST_F(EnvCommandsTest, ShowDockerTellsWhatNoFlagSays) {
  const std::string file =
      WriteFile("environments: [{name: m, memory_bytes: 64MiB, page_cache: COLD, io_read_bytes_per_second: 1MiB}]\n");
  EXPECT_EQ(Run({"env", "show-docker", "m", "--env-file", file}), 2);
  EXPECT_THAT(err(), HasSubstr("try: --io-device /dev/sda"));
  ASSERT_EQ(Run({"env", "show-docker", "m", "--env-file", file, "--io-device", "/dev/sdb"}), 0);
  EXPECT_THAT(out(), HasSubstr("--device-read-bps=/dev/sdb:1048576"));
  EXPECT_EQ(err(), "note: m: the page cache is as it is: no flag drops it\n");
}

TEST_F(EnvCommandsTest, CreateScriptsWritesAndTells) {
  const std::string scripts = (directory_.path() / "out" / "scripts").string();
  ASSERT_EQ(Run({"env", "create-scripts", "--output-dir", scripts}), 0) << err();
  EXPECT_THAT(out(), HasSubstr(scripts + "/run_memory_env_test.sh\n"));
  EXPECT_THAT(out(), HasSubstr(scripts + "/test_2gb-noswap.bat\n"));
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scripts)) {
    const bool executable =
        (entry.status().permissions() & std::filesystem::perms::others_exec) != std::filesystem::perms::none;
    EXPECT_EQ(executable, entry.path().extension() == ".sh") << entry.path();
    ++count;
  }
  EXPECT_EQ(count, 10) << "and nothing else is left";
  WriteFile("in the way");
  EXPECT_EQ(Run({"env", "create-scripts", "--output-dir", (directory_.path() / "mine.yaml").string()}), 1);
  EXPECT_THAT(err(), HasSubstr("is not a directory"));
}

TEST_F(EnvCommandsTest, AJobTakesTheUsersProfileAlong) {
  WriteUsers("environments: [{name: 小, aliases: [small], memory_bytes: 64MiB}]\n");
  ASSERT_EQ(Run({"simple", "--mode", "burst", "--env", "SMALL"}), 0) << err();
  EXPECT_EQ(Submitted().environment(), "小");
  EXPECT_EQ(Submitted().environment_profile().memory_bytes(), 64U << 20U);
  const std::string file = WriteFile("environments: [{name: small, memory_bytes: 32MiB}]\n");
  ASSERT_EQ(Run({"simple", "--mode", "burst", "--env", "small", "--env-file", file}), 0);
  EXPECT_EQ(Submitted().environment(), "small");
  EXPECT_EQ(Submitted().environment_profile().memory_bytes(), 32U << 20U) << "the file that is named stands first";
  const std::string job =
      Write(directory_.path() / "job.yaml", "environment: small\nworkload: {pressure: {burst: {}}}\n");
  ASSERT_EQ(Run({"submit", job}), 0) << err();
  EXPECT_EQ(Submitted().environment(), "小");
  for (const std::vector<std::string>& command : {std::vector<std::string>{"model", "--model-id", "tiny"},
                                                  {"quantization", "--model-id", "tiny"},
                                                  {"stability"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--env", "small"});
    ASSERT_EQ(Run(arguments), 0) << err();
    EXPECT_TRUE(Submitted().has_environment_profile()) << command.front();
  }
}

TEST_F(EnvCommandsTest, ANameThatTheUserDoesNotHaveIsTheCoordinators) {
  ASSERT_EQ(Run({"simple", "--mode", "burst", "--env", "2gb-noswap"}), 0);
  EXPECT_EQ(Submitted().environment(), "2gb-noswap");
  EXPECT_FALSE(Submitted().has_environment_profile());
  coordinator_.submit_status = absl::NotFoundError("there is no environment profile 'x'");
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--env", "x"}), 4);
  EXPECT_EQ(err(), "error: there is no environment profile 'x'\n  try: ballast env list, ballast devices list\n");
}

TEST_F(EnvCommandsTest, WhatDryRunPrintsCanBeSubmitted) {
  const std::string file = WriteFile("environments: [{name: mine, memory_bytes: 64MiB}]\n");
  ASSERT_EQ(Run({"simple", "--mode", "burst", "--env", "mine", "--env-file", file, "--dry-run"}), 0);
  EXPECT_THAT(out(), HasSubstr("environment_profile:\n  name: mine\n"));
  const std::string job = Write(directory_.path() / "job.yaml", out());
  ASSERT_EQ(Run({"submit", job}), 0) << err();
  EXPECT_EQ(Submitted().environment_profile().memory_bytes(), 64U << 20U);
}

TEST_F(EnvCommandsTest, AFileOfProfilesThatIsWrongHasItsPlace) {
  const std::string file = WriteFile("environments:\n  - {name: mine, memory_bites: 64MiB}\n");
  EXPECT_EQ(Run({"simple", "--mode", "burst", "--env", "mine", "--env-file", file}), 2);
  EXPECT_THAT(err(), HasSubstr("  at " + file + ":2:18\n"));
  EXPECT_THAT(err(), HasSubstr("try: mend " + file));
  EXPECT_EQ(Run({"env", "list", "--env-file", file + "x"}), 2) << "a mistake in what was given";
  const std::string users = WriteUsers("environments: 3\n");
  EXPECT_EQ(Run({"env", "list"}), 2);
  EXPECT_THAT(err(), HasSubstr("  at " + users + ":1:15\n"));
  EXPECT_EQ(Run({"simple", "--mode", "burst"}), 0) << "a job without an environment does not need it";
}

TEST_F(EnvCommandsTest, RunBecomesTheWorkerWithTheProfile) {
  WriteProgram("ballast-worker", "echo \"$1 $3 $4 $5\" >&2; cat \"$2\" >&2; exit 42\n");
  EXPECT_EXIT(static_cast<void>(Run({"env", "run", "2gb-noswap", "--", "program", "--mode", "a b"})),
              testing::ExitedWithCode(42), "--run-environment -- program --mode\nname: .*\naliases:");
  EXPECT_EXIT(static_cast<void>(Run({"env", "run", "2gb-noswap", "--", "--output"})), testing::ExitedWithCode(42),
              "--run-environment -- --output");
}

TEST_F(EnvCommandsTest, RunSaysWhatIsMissing) {
  EXPECT_EQ(Run({"env", "run", "2gb-noswap"}), 2);
  EXPECT_THAT(err(), HasSubstr("the command, behind --, is missing"));
  EXPECT_EQ(Run({"env", "run", "nobody", "--", "x"}), 4);
  EXPECT_EQ(Run({"env", "run", "2gb-noswap", "--engine", "runc", "--", "x"}), 2);
  EXPECT_EQ(Run({"env", "run", "2gb-noswap", "--image", "debian", "--", "x"}), 2);
  EXPECT_THAT(err(), HasSubstr("--image belongs to --engine docker and podman"));
  EXPECT_EQ(Run({"env", "run", "2gb-noswap", "x"}), 2) << "the command stands behind --";
  EXPECT_EQ(Run({"env", "run", "2gb-noswap", "--ingine", "docker", "--", "x"}), 2);
  EXPECT_THAT(err(), HasSubstr("did you mean '--engine'?"));
}

}  // namespace
}  // namespace ballast::cli
