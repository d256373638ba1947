#include "cli/render/last_seconds.h"

#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kMiB = 1 << 20;

class LastSecondsTest : public testing::Test {
 protected:
  // `count` samples, ten a second, the first at 5 s.
  void Take(int count) {
    for (int i = 0; i < count; ++i) series_.add_offset_ms(5000 + 100 * i);
  }
  void Column(const std::string& metric, const std::function<double(int)>& value) {
    v1::SampleColumn& column = *series_.add_columns();
    column.set_metric(metric);
    for (int i = 0; i < series_.offset_ms_size(); ++i) column.add_values(value(i));
  }
  v1::SampleSeries series_;
};

TEST_F(LastSecondsTest, HasALineForEachSecondBeforeTheLastSample) {
  Take(25);
  Column("mem_limit_available_bytes", [](int i) { return (100 - i) * kMiB; });
  Column("psi_memory_full_avg10", [](int i) { return i; });
  Column("vm_pswpin_total", [](int i) { return 1000 + 50 * i; });
  EXPECT_EQ(LastSecondsTable(series_),
            "before the end  available  PSI full  pages swapped in/s\n"
            "         2.0 s     96 MiB     4.0 %                   -\n"
            "         1.0 s     86 MiB    14.0 %                 500\n"
            "         0.0 s     76 MiB    24.0 %                 500\n");
}

TEST_F(LastSecondsTest, RefaultsAreThoseOfFilesAndOfAnonymousMemory) {
  Take(11);
  Column("vm_workingset_refault_file_total", [](int i) { return 10 * i; });
  Column("vm_workingset_refault_anon_total", [](int i) { return i; });
  EXPECT_THAT(LastSecondsTable(series_), HasSubstr("         0.0 s         110\n"));
}

// After an OOM kill a last sample tells of the device without the load.
TEST_F(LastSecondsTest, TheEndIsThatOfTheLoadAndWhatComesAfterSaysSo) {
  Take(26);
  Column("mem_used_percent", [](int i) { return i == 25 ? 1 : i * 4; });
  Column("runner_held_bytes", [](int i) { return i == 25 ? std::numeric_limits<double>::quiet_NaN() : 1000 * kMiB; });
  series_.mutable_columns(1)->mutable_values()->at(0) = 0;
  series_.mutable_columns(1)->mutable_values()->at(18) = 0;
  // In short steps, because the load was there for half a second only.
  EXPECT_THAT(LastSecondsTable(series_), HasSubstr("         0.6 s  72.0 %       0 B\n"
                                                   "         0.4 s  80.0 %  0.98 GiB\n"
                                                   "         0.2 s  88.0 %  0.98 GiB\n"
                                                   "         0.0 s  96.0 %  0.98 GiB\n"
                                                   "         after   1.0 %         -\n"));
}

TEST_F(LastSecondsTest, WhatIsMissingIsLeftOut) {
  EXPECT_EQ(LastSecondsTable(series_), "");
  for (const double offset : {1000.0, 1100.0, 4580.0, 4703.0}) series_.add_offset_ms(offset);
  Column("mem_used_percent", [](int i) { return i == 1 ? std::numeric_limits<double>::quiet_NaN() : 90 + i; });
  Column("runner_held_bytes", [](int) { return std::numeric_limits<double>::quiet_NaN(); });
  EXPECT_EQ(LastSecondsTable(series_),
            "before the end    used\n"
            "         3.6 s       -\n"
            "         0.0 s  93.0 %\n")
      << "nothing is known of the seconds between";
  EXPECT_THAT(LastSecondsTable(series_), Not(HasSubstr("held")));
}

}  // namespace
}  // namespace ballast::cli
