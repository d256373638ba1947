#include "common/config/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::config {
namespace {

using testing::HasSubstr;

TEST(PatternTest, TheWholeOfATextMustMatch) {
  EXPECT_TRUE(MatchesPattern("[0-9]{1,4}", "100"));
  EXPECT_FALSE(MatchesPattern("[0-9]{1,4}", "100; rm"));
  EXPECT_FALSE(MatchesPattern("[0-9]{1,4}", "1\n"));
  EXPECT_FALSE(MatchesPattern("a|b", "ab"));
  EXPECT_TRUE(MatchesPattern("", ""));
}

TEST(PatternTest, WhatIsNoPatternMatchesNothing) {
  EXPECT_TRUE(CheckPattern("[a-z]+").ok());
  const absl::Status status = CheckPattern("[a-z");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("[a-z"));
  EXPECT_FALSE(MatchesPattern("[a-z", "[a-z"));
}

}  // namespace
}  // namespace ballast::config
