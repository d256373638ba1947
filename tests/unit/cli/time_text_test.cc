#include "cli/time_text.h"

#include "gtest/gtest.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

TEST(TimeTextTest, TimesDatesAndAges) {
  const FakeClock clock;  // 2025-03-01T14:00:00Z
  EXPECT_EQ(ParseTime("--since", "2025-03-01T14:00:00Z", clock)->seconds(), 1'740'837'600);
  EXPECT_EQ(ParseTime("--since", "2025-03-01T15:00:00+01:00", clock)->seconds(), 1'740'837'600);
  EXPECT_EQ(ParseTime("--since", "2025-03-01", clock)->seconds(), 1'740'837'600 - 14 * 3600);
  EXPECT_EQ(ParseTime("--since", "24h", clock)->seconds(), 1'740'837'600 - 86'400);
  for (const char* bad : {"", "now", "2025-13-01", "2025-03-01 14:00", "-1h", "999999999999999999999"}) {
    EXPECT_EQ(ParseTime("--since", bad, clock).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace ballast::cli
