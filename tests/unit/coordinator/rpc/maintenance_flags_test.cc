#include "coordinator/rpc/maintenance_flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;
using Kind = MaintenanceCommand::Kind;

TEST(MaintenanceFlagsTest, TheFirstArgumentNamesTheCommand) {
  EXPECT_TRUE(IsMaintenanceCommand({"backup", "--help"}));
  EXPECT_TRUE(IsMaintenanceCommand({"compact"}));
  EXPECT_FALSE(IsMaintenanceCommand({}));
  EXPECT_FALSE(IsMaintenanceCommand({"--data-dir", "backup"}));
}

TEST(MaintenanceFlagsTest, ReadsWhatIsToBeDone) {
  const auto backup = ParseMaintenanceCommand({"backup", "/c", "--data-dir", "/d", "--force"});
  ASSERT_TRUE(backup.ok()) << backup.status();
  EXPECT_EQ(backup->kind, Kind::kBackup);
  EXPECT_EQ(backup->file, "/c");
  EXPECT_EQ(backup->data_dir, "/d");
  EXPECT_TRUE(backup->force);
  EXPECT_EQ(ParseMaintenanceCommand({"restore", "--data-dir", "/d", "/c"})->kind, Kind::kRestore);
  EXPECT_EQ(ParseMaintenanceCommand({"compact", "--data-dir", "/d"})->kind, Kind::kCompact);
}

TEST(MaintenanceFlagsTest, RefusesWhatIsMissingOrTooMuch) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"backup", "--data-dir", "/d"},
                                             {"backup", "/c"},
                                             {"compact", "/c", "--data-dir", "/d"},
                                             {"restore", "/c", "--data-dir", "/d", "--force"}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseMaintenanceCommand(arguments).status())) << arguments.front();
  }
}

TEST(MaintenanceFlagsTest, HelpSaysWhatABackupLeavesOut) {
  const auto help = ParseMaintenanceCommand({"backup", "--help"});
  ASSERT_TRUE(help.ok());
  EXPECT_EQ(help->kind, Kind::kPrint);
  EXPECT_THAT(help->text, HasSubstr("certificates"));
}

}  // namespace
}  // namespace ballast::coordinator
