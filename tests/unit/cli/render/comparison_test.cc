#include "cli/render/comparison.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

v1::Comparison Example() {
  v1::Comparison comparison;
  for (const char* name : {"j-1", "j-2"}) {
    v1::GroupSummary& group = *comparison.add_groups();
    group.set_group(name);
    group.set_run_count(3);
    v1::OutcomeCount& count = *group.add_outcomes();
    count.set_outcome(v1::COMPLETED);
    count.set_count(2);
  }
  comparison.mutable_groups(0)->set_title("基线");
  v1::ComparisonRow& time = *comparison.add_rows();
  time.set_figure("load_seconds");
  time.set_direction(v1::ComparisonRow::LOWER_IS_BETTER);
  time.add_cells()->set_n(2);
  time.mutable_cells(0)->set_median(2);
  time.add_cells()->set_n(3);
  time.mutable_cells(1)->set_median(2.5);
  time.mutable_cells(1)->set_change_percent(25);
  v1::ComparisonRow& held = *comparison.add_rows();
  held.set_figure("peak_held_bytes");
  held.add_cells();
  held.add_cells()->set_n(3);
  held.mutable_cells(1)->set_median(1048576);
  return comparison;
}

TEST(ComparisonTest, MediansSideBySide) {
  EXPECT_EQ(ComparisonTable(Example(), std::nullopt),
            "GROUP  NAME        RUNS  OUTCOMES\n"
            "base   基线 (j-1)     3  COMPLETED 2 of 3\n"
            "1      j-2            3  COMPLETED 2 of 3\n"
            "\n"
            "FIGURE           BASE  N      1  N   CHANGE\n"
            "load_seconds      2 s  2  2.5 s  3  +25.0 %\n"
            "peak_held_bytes     -  0  1 MiB  3        -\n");
}

TEST(ComparisonTest, AsCsv) {
  EXPECT_EQ(ComparisonCsv(Example()),
            "figure,group,n,median,change_percent\r\n"
            "outcome:COMPLETED,j-1,3,2,\r\n"
            "outcome:COMPLETED,j-2,3,2,\r\n"
            "load_seconds,j-1,2,2,\r\n"
            "load_seconds,j-2,3,2.5,25\r\n"
            "peak_held_bytes,j-1,0,,\r\n"
            "peak_held_bytes,j-2,3,1048576,\r\n");
}

TEST(ComparisonTest, PValuesGetTheirColumnOnceThereAreSome) {
  v1::Comparison comparison = Example();
  comparison.mutable_rows(0)->mutable_cells(1)->set_p_value(0.03);
  EXPECT_THAT(ComparisonTable(comparison, std::nullopt), testing::HasSubstr("+25.0 %  0.03"));
  EXPECT_THAT(ComparisonCsv(comparison), testing::HasSubstr("load_seconds,j-2,3,2.5,25,0.03\r\n"));
}

TEST(ComparisonTest, RowsThatAreTooShortAreNoHarm) {
  v1::Comparison comparison = Example();
  comparison.mutable_rows(0)->mutable_cells()->RemoveLast();
  EXPECT_THAT(ComparisonTable(comparison, std::nullopt), testing::HasSubstr("load_seconds"));
  EXPECT_THAT(ComparisonCsv(comparison), testing::HasSubstr("load_seconds,j-1"));
}

}  // namespace
}  // namespace ballast::cli
