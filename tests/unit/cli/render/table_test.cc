#include "cli/render/table.h"

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

Table Example() {
  Table table({{"NAME"}, {"SIZE", Align::kRight}, {"NOTE"}});
  table.AddRow({"设备一", "5 MiB", "short"});
  table.AddRow({"b", "1.5 GiB", "a longer note here"});
  return table;
}

TEST(TableTest, AlignsByDisplayWidth) {
  EXPECT_EQ(Example().Format(std::nullopt),
            "NAME       SIZE  NOTE\n"
            "设备一    5 MiB  short\n"
            "b       1.5 GiB  a longer note here\n");
}

TEST(TableTest, CutsTheWidestColumnUntilItFits) {
  EXPECT_EQ(Example().Format(27),
            "NAME       SIZE  NOTE\n"
            "设备一    5 MiB  short\n"
            "b       1.5 GiB  a longer …\n");
}

TEST(TableTest, StaysLegibleOnATerminalThatIsFarTooNarrow) {
  EXPECT_EQ(Example().Format(3),
            "NAME      SIZE  NOTE\n"
            "设备一   5 MiB  short\n"
            "b       1.5 G…  a lon…\n");
}

TEST(TableTest, MissingCellsAreEmptyAndLineEndsInCellsAreHarmless) {
  Table table({{"A"}, {"B"}});
  table.AddRow({"x\ny"});
  EXPECT_EQ(table.Format(std::nullopt), "A    B\nx?y\n");
}

}  // namespace
}  // namespace ballast::cli
