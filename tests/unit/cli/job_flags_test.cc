#include "cli/job_flags.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

TEST(JobFlagsTest, WhatWasNotGivenStaysUnset) {
  v1::JobSpec spec;
  ASSERT_TRUE(FillJob({}, &spec).ok());
  EXPECT_EQ(spec.ByteSizeLong(), 0U);
}

// What is said when `member` has `text`.
std::string Problem(std::string JobFlags::*member, const std::string& text) {
  JobFlags flags;
  flags.*member = text;
  v1::JobSpec spec;
  return std::string(FillJob(flags, &spec).message());
}

TEST(JobFlagsTest, ErrorsNameTheFlag) {
  EXPECT_THAT(Problem(&JobFlags::repeat, "ten"), testing::StartsWith("--repeat: "));
  EXPECT_THAT(Problem(&JobFlags::priority, "1001"), testing::StartsWith("--priority: "));
  EXPECT_THAT(Problem(&JobFlags::timeout, "-1"), testing::StartsWith("--timeout: "));
  EXPECT_THAT(Problem(&JobFlags::sample_interval, "1ms"), testing::StartsWith("--sample-interval: "));
}

}  // namespace
}  // namespace ballast::cli
