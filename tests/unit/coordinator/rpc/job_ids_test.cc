#include "coordinator/rpc/job_ids.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

class StillClock final : public base::Clock {
 public:
  base::SystemTime Now() const override { return now; }
  std::chrono::nanoseconds Monotonic() const override { return {}; }
  base::SystemTime now = std::chrono::sys_days(std::chrono::year(2026) / 3 / 4);
};

TEST(JobIdsTest, AreShortReadableAndInOrder) {
  StillClock clock;
  JobIds ids(&clock, "");
  std::string last;
  for (int i = 0; i < 5000; ++i) {
    if (i % 100 == 0) clock.now += std::chrono::milliseconds(1);
    const std::string id = ids.Next();
    EXPECT_THAT(id, testing::MatchesRegex("j-[0-9a-hjkmnp-tv-z]{10}"));
    EXPECT_GT(id, last);
    last = id;
  }
}

TEST(JobIdsTest, AClockThatWasSetBackRepeatsNothing) {
  StillClock clock;
  const std::string before = JobIds(&clock, "").Next();
  clock.now -= std::chrono::hours(24);
  EXPECT_GT(JobIds(&clock, before).Next(), before);
  clock.now = base::SystemTime();
  EXPECT_GT(JobIds(&clock, before).Next(), before);
}

TEST(JobIdsTest, AGreatestOfAnotherFormIsIgnored) {
  StillClock clock;
  for (const char* greatest : {"", "j-", "job-1", "j-zzzzzzzzzu", "j-0000000000000"}) {
    EXPECT_LT(JobIds(&clock, greatest).Next(), "j-zz");
  }
}

}  // namespace
}  // namespace ballast::coordinator
