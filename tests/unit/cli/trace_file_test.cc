#include "cli/trace_file.h"

#include <gmock/gmock.h>

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

void ExpectPoints(std::string_view content, MemoryCurve::Unit unit,
                  const std::vector<std::pair<milliseconds, double>>& wanted) {
  const auto curve = ParseTraceCsv(content, "f.csv");
  ASSERT_TRUE(curve.ok()) << curve.status();
  EXPECT_EQ(curve->unit, unit);
  ASSERT_EQ(curve->points.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(curve->points[i].offset, wanted[i].first) << i;
    EXPECT_EQ(curve->points[i].value, wanted[i].second) << i;
  }
}

constexpr auto kPercent = MemoryCurve::Unit::kPercent;
constexpr auto kBytes = MemoryCurve::Unit::kBytes;

TEST(TraceFileTest, PercentagesInEveryForm) {
  ExpectPoints("0,30\n0.5,45.5%\n1m30s,70\n", kPercent,
               {{milliseconds(0), 30}, {milliseconds(500), 45.5}, {milliseconds(90'000), 70}});
}

TEST(TraceFileTest, HeadingsCommentsBlankLinesAndAnotherSystemsLineEnds) {
  ExpectPoints("\xEF\xBB\xBF# a phone\r\nTime,Percent\r\n\r\n 0 , 30 \r\n1,40 # peak\r\n", kPercent,
               {{milliseconds(0), 30}, {milliseconds(1000), 40}});
}

TEST(TraceFileTest, SamplesAsTheyArePrinted) {
  ExpectPoints("offset_ms,mem_used_percent\r\n3,20.125\r\n100.00,21\r\n", kPercent,
               {{milliseconds(3), 20.125}, {milliseconds(100), 21}});
}

TEST(TraceFileTest, SizesHaveAUnitAndAColumnOfBytesHoldsBytes) {
  ExpectPoints("0,1GiB\n1,1.5GiB\n", kBytes, {{milliseconds(0), 1 << 30}, {milliseconds(1000), 3U << 29U}});
  ExpectPoints("time,bytes\n0,4096\n1,1MiB\n", kBytes, {{milliseconds(0), 4096}, {milliseconds(1000), 1 << 20}});
}

struct BadFile {
  const char* content;
  const char* problem;
};

class BadTraceFileTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadTraceFileTest, IsRefusedAtItsPlace) {
  const auto curve = ParseTraceCsv(GetParam().content, "f.csv");
  EXPECT_TRUE(absl::IsInvalidArgument(curve.status()));
  EXPECT_THAT(std::string(curve.status().message()), HasSubstr(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    , BadTraceFileTest,
    testing::Values(BadFile{"", "f.csv:1:1: a curve has at least two points, here are 0"},
                    BadFile{"time,percent\n0,30\n", "a curve has at least two points, here is 1"},
                    BadFile{"0,30\n0,31\n", "f.csv:2:1: the time '0' is not after the one before it, '0'"},
                    BadFile{"5,30\n4.9,31\n", "f.csv:2:1: the time '4.9' is not after"},
                    BadFile{"0,30\n1\n", "f.csv:2:1: 1 instead of two columns"},
                    BadFile{"0,30\n1,31,32\n", "f.csv:2:6: 3 instead of two columns"},
                    BadFile{"0,30\n1, 101\n", "f.csv:2:4: '101' is not between 0 and 100 %"},
                    BadFile{"0,30\n1,-1\n", "f.csv:2:3: '-1' is not between 0 and 100 %"},
                    BadFile{"0,30\n1,nan\n", "f.csv:2:3: "}, BadFile{"0,30\n1,3GiB\n", "f.csv:2:3: '3GiB' is a size"},
                    BadFile{"0,3GiB\n1,30%\n", "f.csv:2:3: '30%' is a percentage; this column holds bytes"},
                    BadFile{"time,bytes\n0,1e3\n", "f.csv:2:3: '1e3' is not a number of bytes"},
                    BadFile{"time,bytes\n0,2PiB\n", "f.csv:2:3: '2PiB' is more than 1 PiB"},
                    BadFile{"0,30\nsoon,31\n", "f.csv:2:1: 'soon'"}, BadFile{"0,30\n400d,31\n", "longer than a year"},
                    BadFile{"when,percent\n0,1\n1,2\n", "f.csv:1:1: 'when' is no heading"},
                    BadFile{"time,memory\n0,1\n1,2\n", "f.csv:1:6: 'memory' is no heading"}));

TEST(TraceFileTest, ManyProblemsAreToldAtOnceButNotAllOfThem) {
  std::string content;
  for (int i = 0; i < 100; ++i) content += "x,1\n";
  const auto curve = ParseTraceCsv("0,1\n" + content, "f.csv");
  const std::string message(curve.status().message());
  EXPECT_EQ(std::ranges::count(message, '\n'), 9);
}

}  // namespace
}  // namespace ballast::cli
