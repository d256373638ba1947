// env run with an engine that the test plays: what it is asked, in which order, and what becomes of its answers.
#include <unistd.h>

#include <string>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "common/base/file.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ContainerRunTest : public CommandTest {
 protected:
  ContainerRunTest() {
    variables_["PATH"] = directory_.path().string() + ":/usr/bin:/bin";
    UseEngine("");
  }

  // An engine that keeps to everything. `answers` are lines of sh that come before its own.
  void UseEngine(const std::string& answers) {
    WriteProgram("docker", fmt::format("echo \"$*\" >>{0}\n{1}\n"
                                       "case $1 in\n"
                                       "  create) echo 0123456789abcdef ;;\n"
                                       "  inspect) case $3 in *Pid*) echo 0 ;; *Status*) echo exited 0 false ;; "
                                       "*) echo 2147483648 2147483648 ;; esac ;;\n"
                                       "  start) cat ;;\n"
                                       "esac\n",
                                       Log().string(), answers));
  }
  [[nodiscard]] std::filesystem::path Log() const { return directory_.path() / "calls"; }
  [[nodiscard]] std::string Calls() const { return base::ReadFile(Log()).value_or(""); }
  int RunContainer(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments = {"env", "run", "2gb-noswap", "--engine", "docker", "--image", "image"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.insert(arguments.end(), {"--", "program", "--flag", "a b"});
    return Run(arguments);
  }
};

TEST_F(ContainerRunTest, TheContainerIsMadeCheckedStartedAndRemoved) {
  EXPECT_EQ(RunContainer({"--engine-flag=--volume=/a:/b"}), 0) << err();
  const std::string calls = Calls();
  EXPECT_THAT(calls, StartsWith("ps --all --filter label=ballast.processes="));
  EXPECT_THAT(calls, HasSubstr("\ncreate --interactive --name ballast-env-"));
  EXPECT_THAT(calls,
              HasSubstr(" --volume=/a:/b --memory=2048m --memory-swap=2048m image program --flag a b\ninspect "));
  EXPECT_LT(calls.find("HostConfig"), calls.find("\nstart "));
  EXPECT_GT(calls.find("\nrm --force ballast-env-"), calls.find("\nstart "));
  EXPECT_THAT(calls, HasSubstr("\nstart --attach --interactive ballast-env-"));
  EXPECT_EQ(err(), "");
}

TEST_F(ContainerRunTest, TheExitCodeIsTheCommands) {
  for (const int code : {1, 6, 42, 255}) {
    UseEngine(fmt::format("case $3 in *Status*) echo exited {} false; exit ;; esac", code));
    EXPECT_EQ(RunContainer(), code);
  }
}

TEST_F(ContainerRunTest, AKilledCommandIsSpokenOf) {
  UseEngine("case $3 in *Status*) echo exited 137 true; exit ;; esac");
  EXPECT_EQ(RunContainer(), 137);
  EXPECT_THAT(err(),
              HasSubstr("out of memory: the kernel ended the command at the limit of 极限2GB模式 (2 GiB, no swap)"));
  UseEngine("case $3 in *Status*) echo exited 137 false; exit ;; esac");
  EXPECT_EQ(RunContainer(), 137);
  EXPECT_THAT(err(), HasSubstr("SIGKILL; in 极限2GB模式 (2 GiB, no swap) that is most often the memory limit"));
}

TEST_F(ContainerRunTest, WhatAKilledProgramLeftIsRemoved) {
  UseEngine(fmt::format("[ $1 != ps ] || {{ echo ballast-env-{}-1; echo ballast-env-4194303-2; echo other; exit; }}",
                        ::getpid()));
  EXPECT_EQ(RunContainer(), 0);
  EXPECT_THAT(Calls(), HasSubstr("\nrm --force ballast-env-4194303-2\ncreate "));
  EXPECT_THAT(Calls(), Not(HasSubstr("rm --force other")));
  EXPECT_THAT(Calls(), Not(HasSubstr(fmt::format("rm --force ballast-env-{}-1\n", ::getpid()))));
}

TEST_F(ContainerRunTest, ACommandThatNeverBeganIsLookedInto) {
  UseEngine(
      "case \"$*\" in *Status*) echo created 0 false; exit ;; "
      "'start ballast'*) echo 'exec: \"program\": executable file not found in $PATH' >&2; exit 1 ;; esac");
  EXPECT_EQ(RunContainer(), 127);
  EXPECT_THAT(err(), HasSubstr("the image image has no program 'program'"));
}

TEST_F(ContainerRunTest, AnEngineThatDiscardsALimitIsRefused) {
  UseEngine("[ $1 != inspect ] || { echo 2147483648 -1; exit; }");
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(), HasSubstr("docker discarded a limit of 极限2GB模式"));
  EXPECT_THAT(err(), HasSubstr("are 2147483648 -1 bytes there, and 2147483648 2147483648 were asked for"));
  EXPECT_THAT(Calls(), HasSubstr("rm --force"));
  EXPECT_THAT(Calls(), Not(HasSubstr("start")));
  UseEngine("[ $1 != create ] || echo 'WARNING: Your kernel does not support swap limit capabilities.' >&2");
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(), HasSubstr("  | WARNING: Your kernel does not support swap limit"));
}

TEST_F(ContainerRunTest, WhatKeepsAnEngineFromWorkingIsExplained) {
  UseEngine(
      "[ $1 != create ] || { echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1; "
      "}");
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(), HasSubstr("docker could not make a container of the image image\n  | Cannot connect"));
  EXPECT_THAT(err(), HasSubstr("try: start the engine's service"));
  UseEngine("[ $1 != create ] || { echo 'permission denied while trying to connect to docker.sock' >&2; exit 1; }");
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(), HasSubstr("member of the group docker"));
  UseEngine("[ $1 != create ] || { echo 'Error: No such image: image' >&2; exit 1; }");
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(), HasSubstr("try: name an image that is there, or can be pulled (--image)"));
  std::filesystem::remove(directory_.path() / "docker");
  variables_["PATH"] = directory_.path().string();
  EXPECT_EQ(RunContainer(), 6);
  EXPECT_THAT(err(),
              HasSubstr("there is no program docker on PATH\n  try: install it (Debian: apt-get install docker.io"));
}

TEST_F(ContainerRunTest, FlagsThatTakeTheContainerAwayAreRefused) {
  for (const char* const flag : {"--name=foo", "--rm", "--restart=always", "--pod=new:p"}) {
    EXPECT_EQ(RunContainer({fmt::format("--engine-flag={}", flag)}), 2) << flag;
    EXPECT_THAT(err(), HasSubstr("the engine cannot be given --"));
    EXPECT_THAT(err(), HasSubstr("try: leave --"));
  }
  EXPECT_EQ(Calls(), "") << "nothing was made";
}

TEST_F(ContainerRunTest, WhatTheEngineSaysLeadsToANextStep) {
  const auto next_step = [this](const std::string& said) {
    UseEngine(fmt::format("[ $1 != create ] || {{ echo '{}' >&2; exit 125; }}", said));
    EXPECT_EQ(RunContainer(), 6);
    return err();
  };
  EXPECT_THAT(next_step("Error: unknown flag: --foo"), HasSubstr("try: leave that flag out (--engine-flag)"));
  EXPECT_THAT(next_step("Error: initializing source docker://none/x: pinging container registry none: dial tcp"),
              HasSubstr("try: name an image"));
  EXPECT_THAT(next_step("Error: no command or entrypoint provided, and no CMD or ENTRYPOINT from image"),
              HasSubstr("try: give the command to run behind --"));
}

TEST_F(ContainerRunTest, AnInterruptEndsTheCommandAndRemovesTheContainer) {
  // Its child interrupts the test: nothing is waited for but what happens.
  UseEngine("if [ $1 = start ]; then trap 'exit 143' TERM; touch " + (directory_.path() / "started").string() +
            "; sleep 30 & wait; fi");
  std::jthread user([this] {
    while (!std::filesystem::exists(directory_.path() / "started")) std::this_thread::yield();
    interrupts_.Raise();
  });
  EXPECT_EQ(RunContainer(), 130);
  EXPECT_THAT(Calls(), HasSubstr("rm --force"));
}

TEST_F(ContainerRunTest, PodmanWithoutTheProgramInTheImage) {
  WriteProgram("podman",
               "case $1 in\n"
               "  create) echo 0123456789abcdef ;;\n"
               "  inspect) echo 2147483648 2147483648 ;;\n"
               "  init) echo 'Error: runc: exec: \"program\": executable file not found in $PATH' >&2; exit 125 ;;\n"
               "esac\n");
  EXPECT_EQ(Run({"env", "run", "2gb-noswap", "--engine", "podman", "--image", "image", "--", "program"}), 127);
  EXPECT_EQ(err(), "error: the image image has no program 'program'\n  try: name an image that has it (--image)\n");
}

}  // namespace
}  // namespace ballast::cli
