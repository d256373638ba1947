#include "common/base/units.h"

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::base {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

TEST(ParseBytesTest, ReadsWhatPeopleWrite) {
  const std::vector<std::pair<std::string_view, std::uint64_t>> cases = {
      {"100", 100 * kMiB},
      {"0", 0},
      {"512B", 512},
      {"64K", 64 * kKiB},
      {"512KB", 512 * kKiB},
      {"512kib", 512 * kKiB},
      {"100MB", 100 * kMiB},
      {"100 MiB", 100 * kMiB},
      {"100mb", 100 * kMiB},
      {"  2G ", 2 * kGiB},
      {"1.5GiB", 3 * kGiB / 2},
      {".5GiB", kGiB / 2},
      {"5.MiB", 5 * kMiB},
      {"2T", 2048 * kGiB},
      {"1PiB", 1024 * 1024 * kGiB},
      {"0.5B", 1},
      {"1.0000000000000000000000001B", 1},
      {"9007199254740993B", 9'007'199'254'740'993},  // a double would lose the last byte
      {"9223372036854775807B", 9'223'372'036'854'775'807},
  };
  for (const auto& [text, bytes] : cases) {
    const auto parsed = ParseBytes(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(ParseBytesTest, RefusesEverythingElse) {
  for (const std::string_view text : {"",
                                      " ",
                                      "abc",
                                      "-5",
                                      "-1MB",
                                      "+5",
                                      "1..5",
                                      ".",
                                      "1e3",
                                      "0x10",
                                      "nan",
                                      "inf",
                                      "5 apples",
                                      "MB",
                                      "1,5GB",
                                      "1 5",
                                      "5MBB",
                                      "9223372036854775808B",
                                      "99999999999999999999999999999999",
                                      "8192PiB",
                                      "1.2.3",
                                      "5\n"}) {
    const auto parsed = ParseBytes(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << text;
  }
  EXPECT_THAT(std::string(ParseBytes("abc").status().message()),
              HasSubstr("'abc' is not a size; write it as 100 (MiB)"));
  EXPECT_THAT(std::string(ParseBytes("9999999PiB").status().message()), HasSubstr("more than any machine has"));
}

TEST(ParseDurationTest, ReadsWhatPeopleWrite) {
  const std::vector<std::pair<std::string_view, nanoseconds>> cases = {
      {"5", 5s},
      {"5.0", 5s},
      {"0", 0s},
      {"0.5", 500ms},
      {"250ms", 250ms},
      {"7us", 7us},
      {"9ns", 9ns},
      {"90s", 90s},
      {"10m", 10min},
      {"8h", 8h},
      {"2d", 48h},
      {"1h30m", 90min},
      {"1h 30m 5s", 90min + 5s},
      {"1.5H", 90min},
      {" 3 s ", 3s},
      {"9223372036854775807ns", nanoseconds::max()},
      {"104d3ns", 104 * 24h + 3ns},
  };
  for (const auto& [text, duration] : cases) {
    const auto parsed = ParseDuration(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, duration) << text;
  }
}

TEST(ParseDurationTest, RefusesEverythingElse) {
  for (const std::string_view text :
       {"", " ", "abc", "-5s", "-1", "5 parsecs", "1m1h", "1m1m", "1h5", "5 5", "s", "1e3s", "infs", "1..0s",
        "9223372036854775808ns", "300000d", "106751d 106751d", "99999999999999999999999d1h", "5s;"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << text;
  }
  EXPECT_THAT(std::string(ParseDuration("-5s").status().message()),
              HasSubstr("'-5s' is not a duration; write it as 5 (seconds)"));
  // Parts that each fit, but not together.
  EXPECT_THAT(std::string(ParseDuration("106751d 23h 59m").status().message()), HasSubstr("too long"));
}

TEST(ParsePercentTest, ReadsAndRefuses) {
  EXPECT_EQ(ParsePercent("70").value(), 70);
  EXPECT_EQ(ParsePercent("70%").value(), 70);
  EXPECT_EQ(ParsePercent(" 0.5 % ").value(), 0.5);
  EXPECT_EQ(ParsePercent("101").value(), 101);  // the range is the field's business
  EXPECT_EQ(ParsePercent("-5").value(), -5);
  for (const std::string_view text :
       {"", "%", "abc", "70%%", "nan", "inf", "-inf%", "1e2", "+5", "--5", "5-", "1.2.3", "70 percent"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParsePercent(text).status())) << text;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParsePercent(std::string(400, '9')).status()));
}

TEST(FormatBytesTest, ShowsAtMostThreeDigits) {
  const std::vector<std::pair<std::uint64_t, std::string>> cases = {
      {0, "0 B"},
      {512, "512 B"},
      {1023, "1023 B"},
      {kKiB, "1 KiB"},
      {1536, "1.5 KiB"},
      {100 * kMiB, "100 MiB"},
      {1'572'864 * kKiB, "1.5 GiB"},
      {4'021'024 * kKiB, "3.83 GiB"},
      {999 * kMiB, "999 MiB"},
      {1023 * kMiB, "1 GiB"},
      {12'345'678, "11.8 MiB"},
      {std::numeric_limits<std::uint64_t>::max(), "16 EiB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(FormatBytes(bytes), text) << bytes;
}

TEST(FormatDurationTest, ShowsWhatMatters) {
  const std::vector<std::pair<nanoseconds, std::string>> cases = {
      {0ns, "0 ms"},
      {250ms, "250 ms"},
      {999'400us, "999 ms"},
      {999'600us, "1.0 s"},
      {5s, "5.0 s"},
      {59'960ms, "1m 00s"},
      {90s, "1m 30s"},
      {3'599'600ms, "1h 00m"},
      {8h, "8h 00m"},
      {8h + 90s, "8h 01m"},
      {-5s, "-5.0 s"},
      {nanoseconds::max(), "2562047h 47m"},
      {nanoseconds::min(), "-2562047h 47m"},
  };
  for (const auto& [duration, text] : cases) EXPECT_EQ(FormatDuration(duration), text) << duration.count();
}

TEST(ToTextTest, IsShortAndReadsBackExactly) {
  EXPECT_EQ(BytesToText(100 * kMiB), "100MiB");
  EXPECT_EQ(BytesToText(1537), "1537B");
  EXPECT_EQ(BytesToText(0), "0B");
  EXPECT_EQ(DurationToText(5s), "5s");
  EXPECT_EQ(DurationToText(250ms), "250ms");
  EXPECT_EQ(DurationToText(8h), "8h");
  EXPECT_EQ(DurationToText(0s), "0s");
  std::mt19937_64 random(20);
  for (int i = 0; i < 20'000; ++i) {
    // Every magnitude, not only the greatest.
    const std::uint64_t value = (random() >> 1U) >> (random() % 63);
    EXPECT_EQ(ParseBytes(BytesToText(value)).value(), value);
    const nanoseconds duration(static_cast<std::int64_t>(value));
    EXPECT_EQ(ParseDuration(DurationToText(duration)).value(), duration);
  }
}

TEST(UnitParsersTest, SurviveAnyBytes) {
  std::mt19937_64 random(7);
  constexpr std::string_view kAlphabet = "0123456789..-+%eEbBkKmMgGiIhdsunpt \0\n\xff";
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    for (std::uint64_t length = random() % 24; length > 0; --length) text += kAlphabet[random() % kAlphabet.size()];
    for (const absl::Status& status :
         {ParseBytes(text).status(), ParseDuration(text).status(), ParsePercent(text).status()}) {
      EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << text;
      EXPECT_EQ(std::string(status.message()).find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace ballast::base
