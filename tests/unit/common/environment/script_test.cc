#include "common/environment/script.h"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <gmock/gmock.h>

#include "common/environment/catalogue.h"

namespace ballast::profiles {
namespace {

using ::testing::HasSubstr;

class ScriptTest : public testing::Test {
 protected:
  ScriptTest() {
    std::string pattern = testing::TempDir() + "/ballast_scripts_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    // Stands for ballast: shows what it was given.
    Write("ballast", "#!/bin/sh\nprintf '[%s]' \"$@\"\necho\ncat \"$3\"\nexit 7\n");
  }
  ~ScriptTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name) << content;
    std::filesystem::permissions(directory_ / name, std::filesystem::perms::owner_all);
  }

  // The exit code of a command line of sh; output_ has what it said.
  int Run(const std::string& command) {
    const std::string out = (directory_ / "out").string();
    const int status = std::system(WithSurroundings(command + " >'" + out + "' 2>&1").c_str());
    std::ostringstream text;
    text << std::ifstream(out).rdbuf();
    output_ = text.str();
    return WEXITSTATUS(status);
  }

  [[nodiscard]] std::string WithSurroundings(const std::string& command) const {
    return "cd '" + directory_.string() + "' && BALLAST=./ballast LANG=C " + command;
  }

  const v1::EnvironmentCatalogue catalogue_ = BuiltinEnvironments().value();
  std::filesystem::path directory_;
  std::string output_;
};

TEST_F(ScriptTest, TheShellScriptHandsOnWhatItIsGiven) {
  Write("run.sh", ShellScript(catalogue_, ""));
  EXPECT_EQ(Run("./run.sh --environment '极限2GB模式' --mode staircase --duration 60"), 7) << output_;
  EXPECT_THAT(output_,
              HasSubstr("[simple][--env-file][/dev/stdin][--env][极限2GB模式][--mode][staircase][--duration][60]\n"));
  EXPECT_EQ(Run("./run.sh --mode burst --environment=old-2.5gb --name \"it's \\\"quoted\\\" \\$HOME\""), 7);
  EXPECT_THAT(output_, HasSubstr("[--env][old-2.5gb][--mode][burst][--name][it's \"quoted\" $HOME]\n"));
  // The profiles go along.
  Write("given.yaml", output_.substr(output_.find('\n') + 1));
  const auto given = ReadEnvironments(directory_ / "given.yaml");
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(given->SerializeAsString(), catalogue_.SerializeAsString());
}

TEST_F(ScriptTest, TheShellScriptOfAProfileHasItAlready) {
  Write("run.sh", ShellScript(catalogue_, "老旧设备"));
  EXPECT_EQ(Run("./run.sh --mode burst"), 7);
  EXPECT_THAT(output_, HasSubstr("[--env][老旧设备][--mode][burst]\n"));
  EXPECT_EQ(Run("./run.sh --env 2gb-noswap"), 7);
  EXPECT_THAT(output_, HasSubstr("[--env][2gb-noswap]\n"));
}

TEST_F(ScriptTest, TheShellScriptExplainsItself) {
  Write("run.sh", ShellScript(catalogue_, ""));
  EXPECT_EQ(Run("./run.sh --mode burst"), 2);
  EXPECT_THAT(output_, HasSubstr("error: --environment is missing\n  try: ./run.sh --help\n"));
  EXPECT_EQ(Run("./run.sh --environment"), 2);
  EXPECT_THAT(output_, HasSubstr("error: --environment needs a name"));
  EXPECT_EQ(Run("./run.sh --help"), 0);
  EXPECT_THAT(output_, HasSubstr("极限2GB模式 (2gb-noswap)"));
  EXPECT_THAT(output_, testing::Not(HasSubstr("set -eu")));
  std::filesystem::remove(directory_ / "ballast");
  EXPECT_EQ(Run("./run.sh --environment 2gb-noswap"), 127);
  EXPECT_THAT(output_, HasSubstr("there is no program ./ballast"));
}

TEST_F(ScriptTest, TheBatchScriptIsForCmd) {
  const auto script = BatchScript(catalogue_, "4GB连线");
  ASSERT_TRUE(script.ok());
  // ASCII until the code page is UTF-8, and no line end but CR LF.
  const std::size_t code_page = script->find("chcp 65001");
  ASSERT_NE(code_page, std::string::npos);
  for (std::size_t i = 0; i < code_page; ++i) EXPECT_LT(static_cast<unsigned char>((*script)[i]), 0x80);
  for (std::size_t i = 0; i < script->size(); ++i) {
    if ((*script)[i] == '\n') {
      EXPECT_EQ((*script)[i - 1], '\r') << i;
    }
  }
  EXPECT_THAT(*script, HasSubstr("set \"ENVIRONMENT=4GB连线\"\r\n"));
  EXPECT_THAT(
      *script,
      HasSubstr("if /i \"%ENVIRONMENT%\"==\"极限2GB模式\" set \"LIMITS=--memory=2048m --memory-swap=2048m\"\r\n"));
  EXPECT_THAT(
      *script,
      HasSubstr(
          "if /i \"%ENVIRONMENT%\"==\"old-2.5gb\" set \"LIMITS=--memory=2560m --memory-swap=2560m --cpus=2\"\r\n"));
  // Every label that is gone to is there.
  for (std::size_t at = script->find("goto "); at != std::string::npos; at = script->find("goto ", at + 1)) {
    const std::string label = script->substr(at + 5, script->find_first_of("\r )", at + 5) - at - 5);
    EXPECT_THAT(*script, HasSubstr("\n:" + label + "\r\n"));
  }
}

TEST_F(ScriptTest, ThereIsAPairForEachProfileAndOneForAll) {
  const auto scripts = AllScripts(catalogue_);
  ASSERT_TRUE(scripts.ok());
  std::map<std::string, bool> names;
  for (const ScriptFile& script : *scripts) names[script.name] = script.executable;
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         testing::Pair("run_memory_env_test.sh", true), testing::Pair("run_memory_env_test.bat", false),
                         testing::Pair("test_4gb-swap.sh", true), testing::Pair("test_4gb-swap.bat", false),
                         testing::Pair("test_2gb-noswap.sh", true), testing::Pair("test_2gb-noswap.bat", false),
                         testing::Pair("test_phone-3gb.sh", true), testing::Pair("test_phone-3gb.bat", false),
                         testing::Pair("test_old-2.5gb.sh", true), testing::Pair("test_old-2.5gb.bat", false)));
}

TEST_F(ScriptTest, AProfileThatLimitsADiskKeepsNoOtherFromItsScript) {
  v1::EnvironmentCatalogue catalogue = catalogue_;
  catalogue.mutable_environments(2)->set_io_read_bytes_per_second(1000);
  const std::string script = BatchScript(catalogue, "").value();
  // The disk is named when the script runs.
  EXPECT_THAT(script,
              HasSubstr("if /i \"%ENVIRONMENT%\"==\"手机模拟\" if not defined BALLAST_IO_DEVICE goto nodevice"));
  EXPECT_THAT(script, HasSubstr("--device-read-bps=%BALLAST_IO_DEVICE%:1000\"\r\n"));
  EXPECT_THAT(script, testing::Not(HasSubstr("set \"BALLAST_IO_DEVICE=")));
  EXPECT_THAT(BatchScript(catalogue, "手机模拟", "/dev/sdb").value(),
              HasSubstr("if not defined BALLAST_IO_DEVICE set \"BALLAST_IO_DEVICE=/dev/sdb\"\r\n"));
  EXPECT_EQ(AllScripts(catalogue)->size(), 2 + 2 * static_cast<std::size_t>(catalogue.environments_size()));
}

}  // namespace
}  // namespace ballast::profiles
