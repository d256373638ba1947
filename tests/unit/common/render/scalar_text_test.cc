#include "common/render/scalar_text.h"

#include <charconv>
#include <cstdint>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::render {
namespace {

google::protobuf::Duration MakeDuration(std::int64_t seconds, std::int32_t nanos) {
  google::protobuf::Duration duration;
  duration.set_seconds(seconds);
  duration.set_nanos(nanos);
  return duration;
}

google::protobuf::Timestamp MakeTime(std::int64_t seconds, std::int32_t nanos) {
  google::protobuf::Timestamp time;
  time.set_seconds(seconds);
  time.set_nanos(nanos);
  return time;
}

TEST(NumberText, IsTheShortestThatReadsBackExactly) {
  EXPECT_EQ(NumberText(0.1), "0.1");
  EXPECT_EQ(NumberText(1.0 / 3.0), "0.3333333333333333");
  EXPECT_EQ(NumberText(-2.5), "-2.5");
  EXPECT_EQ(NumberText(1e-9), "1e-09");
  for (const double value : {0.1 + 0.2, 1e300, 5e-324, 123456789.123456789, -1.0 / 7.0,
                             std::numeric_limits<double>::max(), std::numeric_limits<double>::min()}) {
    const std::string text = NumberText(value);
    double back = 0;
    std::from_chars(text.data(), text.data() + text.size(), back);
    EXPECT_EQ(back, value) << text;
  }
}

TEST(NumberText, WritesWholeNumbersWithoutExponent) {
  EXPECT_EQ(NumberText(100000), "100000");
  EXPECT_EQ(NumberText(-4294967296.0), "-4294967296");
  EXPECT_EQ(NumberText(9007199254740991.0), "9007199254740991");
  EXPECT_EQ(NumberText(1e20), "1e+20");
}

TEST(NumberText, HasNoNegativeZero) {
  EXPECT_EQ(NumberText(-0.0), "0");
}

TEST(NumberText, IsEmptyForWhatIsNoNumber) {
  EXPECT_EQ(NumberText(std::numeric_limits<double>::quiet_NaN()), "");
  EXPECT_EQ(NumberText(std::numeric_limits<double>::infinity()), "");
  EXPECT_EQ(NumberText(-std::numeric_limits<double>::infinity()), "");
}

TEST(SecondsText, IsExactToTheNanosecond) {
  EXPECT_EQ(SecondsText(MakeDuration(0, 0)), "0");
  EXPECT_EQ(SecondsText(MakeDuration(1, 500'000'000)), "1.5");
  EXPECT_EQ(SecondsText(MakeDuration(0, 1)), "0.000000001");
  EXPECT_EQ(SecondsText(MakeDuration(28800, 100'000'000)), "28800.1");
  EXPECT_EQ(SecondsText(MakeDuration(315'576'000'000, 999'999'999)), "315576000000.999999999");
}

TEST(SecondsText, WritesOneSignForBothParts) {
  EXPECT_EQ(SecondsText(MakeDuration(-1, -500'000'000)), "-1.5");
  EXPECT_EQ(SecondsText(MakeDuration(0, -500'000'000)), "-0.5");
}

TEST(SecondsText, IsEmptyForWhatIsNoDuration) {
  EXPECT_EQ(SecondsText(MakeDuration(1, -1)), "");
  EXPECT_EQ(SecondsText(MakeDuration(-1, 1)), "");
  EXPECT_EQ(SecondsText(MakeDuration(0, 1'000'000'000)), "");
  EXPECT_EQ(SecondsText(MakeDuration(0, std::numeric_limits<std::int32_t>::min())), "");
  EXPECT_EQ(SecondsText(MakeDuration(std::numeric_limits<std::int64_t>::min(), 0)), "");
  EXPECT_EQ(SecondsText(MakeDuration(std::numeric_limits<std::int64_t>::max(), 999'999'999)), "");
}

TEST(TimeText, IsRfc3339InUtcWithAsManyDecimalsAsAreNeeded) {
  EXPECT_EQ(TimeText(MakeTime(0, 0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(TimeText(MakeTime(1'767'323'045, 678'000'000)), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(TimeText(MakeTime(1'767'323'045, 1)), "2026-01-02T03:04:05.000000001Z");
  EXPECT_EQ(TimeText(MakeTime(253'402'300'799, 0)), "9999-12-31T23:59:59Z");
}

TEST(TimeText, IsEmptyForWhatIsNoTime) {
  EXPECT_EQ(TimeText(MakeTime(253'402'300'800, 0)), "");
  EXPECT_EQ(TimeText(MakeTime(std::numeric_limits<std::int64_t>::min(), 0)), "");
  EXPECT_EQ(TimeText(MakeTime(0, -1)), "");
  EXPECT_EQ(TimeText(MakeTime(0, 1'000'000'000)), "");
}

}  // namespace
}  // namespace ballast::render
