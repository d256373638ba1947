#include "cli/error_text.h"

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

TEST(ErrorTextTest, CauseAndNextStep) {
  EXPECT_EQ(FormatError(WithNextStep(absl::NotFoundError("there is no job j-1"), "ballast jobs list")),
            "error: there is no job j-1\n  try: ballast jobs list\n");
  EXPECT_EQ(FormatError(absl::InternalError("")), "error: INTERNAL\n");
}

TEST(ErrorTextTest, APlaceGetsItsOwnLine) {
  EXPECT_EQ(FormatError(absl::InvalidArgumentError("a:b/job.yaml:3:14: unknown key 'x'\njob.yaml:4:1: wrong")),
            "error: unknown key 'x'\n  at a:b/job.yaml:3:14\nerror: wrong\n  at job.yaml:4:1\n");
}

TEST(ErrorTextTest, WhatCouldSteerATerminalIsReplaced) {
  EXPECT_EQ(FormatError(WithNextStep(absl::NotFoundError("no \x1b[2Jjob"), "do\x07")),
            "error: no ?[2Jjob\n  try: do?\n");
}

TEST(ErrorTextTest, WhatOnlyLooksLikeAPlaceIsNone) {
  for (const char* text :
       {"unix:/x: gone", "at 127.0.0.1:80: refused", ":1:2: x", "a:1: x", "a:1:2", "a:1:2:x", "a:1:2:3 x"}) {
    EXPECT_EQ(FormatError(absl::UnknownError(text)), std::string("error: ") + text + "\n");
  }
}

TEST(ErrorTextTest, DetailStandsBelowTheCauseAndTheFirstNextStepStays) {
  const absl::Status status =
      WithNextStep(WithNextStep(WithDetail(absl::UnavailableError("it ended"), "line 1\nline 2"), "first"), "second");
  EXPECT_EQ(FormatError(status), "error: it ended\n  | line 1\n  | line 2\n  try: first\n");
  EXPECT_TRUE(WithNextStep(absl::OkStatus(), "nothing").ok());
  EXPECT_TRUE(WithDetail(absl::OkStatus(), "nothing").ok());
}

}  // namespace
}  // namespace ballast::cli
