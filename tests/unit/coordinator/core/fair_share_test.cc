#include "coordinator/core/fair_share.h"

#include "gtest/gtest.h"

namespace ballast::core {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

TEST(FairShare, UseIsDeviceTimeOfWhichHalfIsForgottenAfterAHalfLife) {
  FairShare share(hours(1));
  EXPECT_EQ(share.Use("ada", seconds(0)), 0);
  share.Add("ada", seconds(100), seconds(0), seconds(0));
  EXPECT_DOUBLE_EQ(share.Use("ada", hours(1)), 50);
  EXPECT_DOUBLE_EQ(share.Use("ada", hours(2)), 25);
  // As long ago as that, before the clock began.
  share.Add("bob", seconds(100), -hours(1), seconds(0));
  EXPECT_DOUBLE_EQ(share.Use("bob", seconds(0)), 50);
}

TEST(FairShare, DevicesInUseCountWhileTheyAre) {
  FairShare share(hours(1));
  share.Begin("ada", seconds(0));
  share.Begin("ada", seconds(0));
  EXPECT_NEAR(share.Use("ada", seconds(60)), 120, 1);
  share.End("ada", seconds(60));
  EXPECT_NEAR(share.Use("ada", seconds(120)), 180, 3);
  share.End("ada", seconds(120));
  const double use = share.Use("ada", seconds(120));
  EXPECT_DOUBLE_EQ(share.Use("ada", seconds(120) + hours(1)), use / 2);
  EXPECT_EQ(share.Use("bob", hours(1)), 0);
}

}  // namespace
}  // namespace ballast::core
