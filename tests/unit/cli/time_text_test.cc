#include "cli/time_text.h"

#include "common/base/next_step.h"
#include "gtest/gtest.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

TEST(TimeTextTest, TimesDatesAndAges) {
  const FakeClock clock;  // 2025-03-01T14:00:00Z
  EXPECT_EQ(ParsePastTime("--since", "2025-03-01T14:00:00Z", clock)->seconds(), 1'740'837'600);
  EXPECT_EQ(ParsePastTime("--since", "2025-03-01T15:00:00+01:00", clock)->seconds(), 1'740'837'600);
  EXPECT_EQ(ParsePastTime("--since", "2025-03-01", clock)->seconds(), 1'740'837'600 - 14 * 3600);
  EXPECT_EQ(ParsePastTime("--since", "24h", clock)->seconds(), 1'740'837'600 - 86'400);
  for (const char* bad : {"", "now", "2025-13-01", "2025-03-01 14:00", "-1h", "999999999999999999999"}) {
    EXPECT_EQ(ParsePastTime("--since", bad, clock).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(TimeTextTest, WherePlansAreMadeADurationIsFromNowOn) {
  const FakeClock clock;
  EXPECT_EQ(ParseComingTime("--from", "2h", clock)->seconds(), 1'740'837'600 + 7'200);
  EXPECT_EQ(ParseComingTime("--from", "2025-03-02T14:00:00Z", clock)->seconds(), 1'740'837'600 + 86'400);
  EXPECT_EQ(ParseComingTime("--from", "2025-03-02", clock)->seconds(), 1'740'837'600 + 10 * 3600);
  const absl::Status none = ParseComingTime("--from", "tonight", clock).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(base::NextStepOf(none), "--from 2h, --from 2026-03-01 or --from 2026-03-01T14:00:00Z");
  // As nanoseconds since 1970 it does not exist.
  EXPECT_EQ(ParseComingTime("--from", "100000d", clock).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast::cli
