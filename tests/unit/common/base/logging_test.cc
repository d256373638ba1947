#include "common/base/logging.h"

#include <memory>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::base {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(LoggingTest, WritesToStandardErrorFromTheLevelUp) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  ASSERT_TRUE(InitLogging("ballast-test", "warn").ok());
  Log().info("not shown");
  Log().warn("shown {}", 7);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z warning ballast-test: shown 7\n"));
}

TEST(LoggingTest, AMessageIsOneLineAndSteersNoTerminal) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(InitLogging("ballast-test", "warn").ok());
  Log().warn("revoked ({})", "x\x1b[31m\nFORGED");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("ballast-test: revoked (x\\x1b[31m\\nFORGED)\n"));
}

TEST(LoggingTest, LeavesTheDefaultLoggerToTheProgram) {
  const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
  ASSERT_TRUE(InitLogging("ballast-test", "warn").ok());
  EXPECT_EQ(spdlog::default_logger(), before);
  EXPECT_NE(&Log(), before.get());
}

TEST(LoggingTest, TakesTheFiveLevels) {
  for (const std::string_view level : {"trace", "debug", "info", "warn", "error"})
    EXPECT_TRUE(InitLogging("t", level).ok()) << level;
  for (const std::string_view level : {"", "off", "critical", "INFO", "verbose"}) {
    const absl::Status status = InitLogging("t", level);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << level;
    EXPECT_THAT(std::string(status.message()), HasSubstr("use trace, debug, info, warn or error"));
  }
}

}  // namespace
}  // namespace ballast::base
