#include "cli/context.h"

#include <unistd.h>

#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using ContextTest = CommandTest;

TEST_F(ContextTest, TheUserIsWhoTheEnvironmentSaysElseTheAccount) {
  variables_["LOGNAME"] = "lea";
  variables_["USER"] = "uma";
  EXPECT_EQ(UserName(context_), "uma");
  variables_.erase("USER");
  EXPECT_EQ(UserName(context_), "lea");
  variables_.erase("LOGNAME");
  EXPECT_EQ(UserName(context_), AccountName(::geteuid()));
}

TEST_F(ContextTest, AnAccountWithoutANameHasItsNumber) {
  EXPECT_EQ(AccountName(0), "root");
  EXPECT_EQ(AccountName(4'123'456'789U), "uid-4123456789");
}

}  // namespace
}  // namespace ballast::cli
