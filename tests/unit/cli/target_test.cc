#include "cli/target.h"

#include <fstream>

#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

class TargetTest : public CommandTest {
 protected:
  void WriteConfig(const std::string& text) {
    const std::filesystem::path file = *ConfigFile(context_);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
};

TEST_F(TargetTest, TheFirstPlaceThatSaysSomethingWins) {
  EXPECT_TRUE(FindTarget({}, context_)->local());
  WriteConfig("coordinator: file:1\n");
  EXPECT_EQ(FindTarget({}, context_)->address, "file:1");
  EXPECT_EQ(FindTarget({}, context_)->source, (directory_.path() / "home/.config/ballast/config.yaml").string());
  variables_["BALLAST_COORDINATOR"] = "env:1";
  EXPECT_EQ(FindTarget({}, context_)->address, "env:1");
  EXPECT_EQ(FindTarget({.coordinator = "flag:1"}, context_)->address, "flag:1");
  EXPECT_EQ(FindTarget({.coordinator = "flag:1"}, context_)->source, "--coordinator");
  EXPECT_TRUE(FindTarget({.coordinator = "local"}, context_)->local());
  variables_["BALLAST_COORDINATOR"] = "local";
  EXPECT_TRUE(FindTarget({}, context_)->local());
}

TEST_F(TargetTest, DirectoriesFollowTheXdgVariables) {
  EXPECT_EQ(*DataDirectory(context_), directory_.path() / "home/.local/share/ballast");
  variables_["XDG_DATA_HOME"] = "/x/data";
  variables_["XDG_CONFIG_HOME"] = "relative/is/ignored";
  EXPECT_EQ(*DataDirectory(context_), "/x/data/ballast");
  EXPECT_EQ(*ConfigFile(context_), directory_.path() / "home/.config/ballast/config.yaml");
  variables_.erase("HOME");
  EXPECT_EQ(*DataDirectory(context_), "/x/data/ballast");
  EXPECT_FALSE(ConfigFile(context_).ok());
  EXPECT_TRUE(FindTarget({}, context_)->local());
}

TEST_F(TargetTest, AnInvalidConfigurationIsAnErrorUnlessItIsNotNeeded) {
  WriteConfig("cordinator: x:1\n");
  EXPECT_EQ(Run({"jobs", "list"}), 2);
  EXPECT_THAT(err(), testing::HasSubstr("config.yaml:1:1"));
  EXPECT_EQ(Run({"jobs", "list", "--coordinator", "127.0.0.1:1"}), 3);
}

TEST_F(TargetTest, NobodyThereIsCode3WithTheAddressAndWhereItComesFrom) {
  variables_["BALLAST_COORDINATOR"] = "127.0.0.1:1";
  EXPECT_EQ(Run({"runs", "list"}), 3);
  EXPECT_THAT(err(), testing::HasSubstr("coordinator at 127.0.0.1:1"));
  EXPECT_THAT(err(), testing::HasSubstr("BALLAST_COORDINATOR"));
  EXPECT_EQ(Run({"runs", "list", "--coordinator", "192.0.2.1:7850"}), 3);
  EXPECT_THAT(err(), testing::HasSubstr("--insecure"));
}

}  // namespace
}  // namespace ballast::cli
