#include "common/os/swap_areas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::os {
namespace {

using ::testing::IsEmpty;

TEST(SwapAreasTest, ReadsFilesPartitionsAndZram) {
  const auto areas = ParseSwapAreas(
      "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
      "/dev/zram0                              partition\t524288\t\t0\t\t100\n"
      "/var/my\\040swap                         file\t\t75712\t\t12\t\t-2\n");
  ASSERT_EQ(areas.size(), 2U);
  EXPECT_EQ(areas[0].name, "/dev/zram0");
  EXPECT_TRUE(areas[0].zram);
  EXPECT_EQ(areas[0].size_bytes, 512ULL << 20U);
  EXPECT_EQ(areas[0].priority, 100);
  EXPECT_FALSE(areas[1].zram);
  EXPECT_EQ(areas[1].size_bytes, 75712ULL * 1024);
  EXPECT_EQ(areas[1].priority, -2);
}

TEST(SwapAreasTest, LeavesOutBrokenLines) {
  EXPECT_THAT(ParseSwapAreas(""), IsEmpty());
  EXPECT_THAT(ParseSwapAreas("Filename Type Size Used Priority\n\n/dev/sda2\n/dev/sda2 partition\n"
                             "/dev/sda2 partition many 0 -1\n/dev/sda2 partition 1 0\n/dev/sda2 partition -1 0 1\n"),
              IsEmpty());
}

}  // namespace
}  // namespace ballast::os
