#include "common/render/csv.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::render {
namespace {

std::string Record(const std::vector<std::string>& fields) {
  std::string out;
  AppendCsvRecord(fields, &out);
  return out;
}

TEST(AppendCsvRecord, SeparatesByCommasAndEndsWithCrLf) {
  EXPECT_EQ(Record({"a", "", "c d"}), "a,,c d\r\n");
}

TEST(AppendCsvRecord, AppendsToWhatIsThere) {
  std::string out = kUtf8ByteOrderMark;
  AppendCsvRecord(std::vector<std::string>{"a"}, &out);
  AppendCsvRecord(std::vector<std::string>{"b"}, &out);
  EXPECT_EQ(out,
            "\xEF\xBB\xBF"
            "a\r\nb\r\n");
}

TEST(AppendCsvRecord, QuotesWhatWouldBreakTheRecord) {
  EXPECT_EQ(Record({"a,b", "say \"hi\"", "two\nlines", "two\r\nlines"}),
            "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\"two\r\nlines\"\r\n");
}

TEST(AppendCsvRecord, LeavesChineseTextAsItIs) {
  EXPECT_EQ(Record({"内存压力", "极限,2GB"}), "内存压力,\"极限,2GB\"\r\n");
}

TEST(AppendCsvRecord, ReplacesWhatCouldSteerATerminal) {
  EXPECT_EQ(Record({"\x1b[2Ja", "\u009b1m", "b\u202ec\u2066", "\xff", "over\rwritten", "\x7f"}),
            "?[2Ja,?1m,b?c?,?,over?written,?\r\n");
  EXPECT_EQ(Record({"a\tb\n\x1b,\r\n"}), "\"a\tb\n?,\r\n\"\r\n") << "tabs and line ends are text";
}

TEST(AppendCsvRecord, DisarmsFormulas) {
  EXPECT_EQ(Record({"=1+1", "+cmd", "-cmd|x", "@sum", "\ttab"}), "'=1+1,'+cmd,'-cmd|x,'@sum,'\ttab\r\n");
  EXPECT_EQ(Record({"=SUM(A1,A2)"}), "\"'=SUM(A1,A2)\"\r\n");
  EXPECT_EQ(Record({"-inf", "-", "--1", "-1+1"}), "'-inf,'-,'--1,'-1+1\r\n");
}

TEST(AppendCsvRecord, LeavesNumbersAsTheyAre) {
  EXPECT_EQ(Record({"-1", "+2.5", "-1e-09", "-.5", "-1e999"}), "-1,+2.5,-1e-09,-.5,-1e999\r\n");
}

TEST(AppendCsvRecord, ShowsARecordOfOneEmptyField) {
  EXPECT_EQ(Record({""}), "\"\"\r\n");
}

}  // namespace
}  // namespace ballast::render
