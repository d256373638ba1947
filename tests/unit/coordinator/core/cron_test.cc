#include "coordinator/core/cron.h"

#include <string>
#include <vector>

#include "coordinator/core/utc_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

base::SystemTime At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M:%SZ", text, absl::UTCTimeZone(), &time, &error)) << error;
  return base::SystemTime(std::chrono::nanoseconds(absl::ToUnixNanos(time)));
}

absl::TimeZone Zone(const std::string& name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

std::vector<std::string> Times(const std::string& cron, const std::string& after, int count,
                               absl::TimeZone zone = absl::UTCTimeZone()) {
  const absl::StatusOr<Cron> parsed = Cron::Parse(cron);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  std::vector<std::string> times;
  base::SystemTime time = At(after);
  for (int i = 0; i < count; ++i) {
    const auto next = parsed->Next(time, zone);
    if (!next) {
      times.emplace_back("never");
      break;
    }
    time = *next;
    times.push_back(UtcText(time));
  }
  return times;
}

TEST(Cron, NamesTimes) {
  EXPECT_THAT(Times("0 2 * * *", "2026-03-01 01:59:59Z", 2),
              ElementsAre("2026-03-01 02:00:00Z", "2026-03-02 02:00:00Z"));
  EXPECT_THAT(Times("0 2 * * *", "2026-03-01 02:00:00Z", 1), ElementsAre("2026-03-02 02:00:00Z"));
  EXPECT_THAT(
      Times("*/20 8-9 * * *", "2026-03-01 08:30:00Z", 4),
      ElementsAre("2026-03-01 08:40:00Z", "2026-03-01 09:00:00Z", "2026-03-01 09:20:00Z", "2026-03-01 09:40:00Z"));
  EXPECT_THAT(Times("5,10 0 1 jan,Jul *", "2026-02-01 00:00:00Z", 3),
              ElementsAre("2026-07-01 00:05:00Z", "2026-07-01 00:10:00Z", "2027-01-01 00:05:00Z"));
  // 1 March 2026 is a Sunday.
  EXPECT_THAT(Times("0 0 * * mon-fri", "2026-02-28 00:00:00Z", 2),
              ElementsAre("2026-03-02 00:00:00Z", "2026-03-03 00:00:00Z"));
  EXPECT_THAT(Times("0 0 * * 7", "2026-02-28 00:00:00Z", 1), ElementsAre("2026-03-01 00:00:00Z"));
  // Either of two days that are both limited.
  EXPECT_THAT(Times("0 0 13 * fri", "2026-03-11 00:00:00Z", 3),
              ElementsAre("2026-03-13 00:00:00Z", "2026-03-20 00:00:00Z", "2026-03-27 00:00:00Z"));
  EXPECT_THAT(Times("0 0 29 2 *", "2026-01-01 00:00:00Z", 2),
              ElementsAre("2028-02-29 00:00:00Z", "2032-02-29 00:00:00Z"));
  // A 29 February that is a Sunday: 2100 has none.
  EXPECT_THAT(Times("0 0 29 2 */7", "2088-01-01 00:00:00Z", 2),
              ElementsAre("2088-02-29 00:00:00Z", "2128-02-29 00:00:00Z"));
  EXPECT_THAT(Times("@weekly", "2026-03-02 00:00:00Z", 1), ElementsAre("2026-03-08 00:00:00Z"));
  EXPECT_THAT(Times("@hourly", "2026-03-02 00:30:00Z", 1), ElementsAre("2026-03-02 01:00:00Z"));
}

TEST(Cron, AClockThatIsChangedLeavesNothingOutAndRepeatsNothing) {
  const absl::TimeZone berlin = Zone("Europe/Berlin");
  // 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
  EXPECT_THAT(Times("30 2 * * *", "2026-03-28 12:00:00Z", 2, berlin),
              ElementsAre("2026-03-29 01:00:00Z", "2026-03-30 00:30:00Z"));
  EXPECT_THAT(
      Times("*/30 1-3 * * *", "2026-03-29 00:00:00Z", 4, berlin),
      ElementsAre("2026-03-29 00:30:00Z", "2026-03-29 01:00:00Z", "2026-03-29 01:30:00Z", "2026-03-29 23:00:00Z"));
  // 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
  EXPECT_THAT(Times("30 2 * * *", "2026-10-24 12:00:00Z", 2, berlin),
              ElementsAre("2026-10-25 00:30:00Z", "2026-10-26 01:30:00Z"));
  EXPECT_THAT(Times("30 2 * * *", "2026-10-25 00:45:00Z", 1, berlin), ElementsAre("2026-10-26 01:30:00Z"));
}

TEST(Cron, ProblemsNameTheField) {
  const auto problem = [](const char* text) {
    const absl::StatusOr<Cron> cron = Cron::Parse(text);
    EXPECT_EQ(cron.status().code(), absl::StatusCode::kInvalidArgument) << text;
    return std::string(cron.status().message());
  };
  EXPECT_THAT(problem("0 2 * *"), HasSubstr("4 fields; it needs five"));
  EXPECT_THAT(problem("60 2 * * *"), HasSubstr("minute '60'"));
  EXPECT_THAT(problem("0 24 * * *"), HasSubstr("hour '24'"));
  EXPECT_THAT(problem("0 2 0 * *"), HasSubstr("day of the month '0'"));
  EXPECT_THAT(problem("0 2 * 13 *"), HasSubstr("month '13'"));
  EXPECT_THAT(problem("0 2 * * 8"), HasSubstr("day of the week '8'"));
  EXPECT_THAT(problem("0 2 * * monday"), HasSubstr("names such as sun"));
  EXPECT_THAT(problem("5-1 * * * *"), HasSubstr("minute '5-1': a range goes from the lower to the higher value, and 5 "
                                                "is after 1; write what lies around the end as two, `5-59,0-1`"));
  EXPECT_THAT(problem("0 2 * * fri-mon"), HasSubstr("fri is after mon; write what lies around the end as two, "
                                                    "`fri-7,0-mon`"));
  EXPECT_THAT(problem("0 2 * 11-2/2 *"), HasSubstr("month '11-2': a range"));
  EXPECT_THAT(problem("*/0 * * * *"), HasSubstr("minute '*/0'"));
  EXPECT_THAT(problem("1,,2 * * * *"), HasSubstr("minute ''"));
  EXPECT_THAT(problem("@often"), HasSubstr("'@often' is none of @hourly"));
}

TEST(Cron, AnyBlanksStandBetweenFields) {
  EXPECT_THAT(Times("\t0\t2  * \t*\n*\r\n", "2026-03-01 02:00:00Z", 1), ElementsAre("2026-03-02 02:00:00Z"));
  EXPECT_THAT(Times("\t@weekly ", "2026-03-02 00:00:00Z", 1), ElementsAre("2026-03-08 00:00:00Z"));
}

TEST(Cron, WhatNeverComesIsRefused) {
  for (const char* const text : {"0 0 30 2 *", "0 0 31 2,4,jun,9,11 *", "* * 30-31 feb */2"}) {
    const absl::Status status = Cron::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("never comes: none of its months")) << text;
  }
  // A day of the week makes up for it, and so does one of the months.
  EXPECT_THAT(Times("0 0 30 2 mon", "2026-01-01 00:00:00Z", 1), ElementsAre("2026-02-02 00:00:00Z"));
  EXPECT_THAT(Times("0 0 31 2,3 *", "2026-01-01 00:00:00Z", 1), ElementsAre("2026-03-31 00:00:00Z"));
}

TEST(Cron, AStepMayBeAsLargeAsANumberGets) {
  for (const char* const text : {"1/2147483647 * * * *", "* 1/2147483647 * * *", "* * 1/2147483647 * *",
                                 "* * * 1/2147483647 *", "* * * * 1/2147483647"}) {
    EXPECT_TRUE(Cron::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace ballast::core
