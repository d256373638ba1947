#include "cli/exit_code.h"

#include <utility>

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

TEST(ExitCodeTest, OfErrors) {
  const std::vector<std::pair<absl::StatusCode, int>> codes = {
      {absl::StatusCode::kOk, 0},
      {absl::StatusCode::kInvalidArgument, 2},
      {absl::StatusCode::kOutOfRange, 2},
      {absl::StatusCode::kUnavailable, 3},
      {absl::StatusCode::kDeadlineExceeded, 3},
      {absl::StatusCode::kPermissionDenied, 3},
      {absl::StatusCode::kUnauthenticated, 3},
      {absl::StatusCode::kNotFound, 4},
      {absl::StatusCode::kFailedPrecondition, 6},
      {absl::StatusCode::kAlreadyExists, 6},
      {absl::StatusCode::kCancelled, 130},
      {absl::StatusCode::kInternal, 1},
      {absl::StatusCode::kDataLoss, 1},
      {absl::StatusCode::kResourceExhausted, 1},
      {absl::StatusCode::kUnknown, 1},
  };
  for (const auto& [code, exit_code] : codes)
    EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::Status(code, ""))), exit_code) << code;
}

int CodeOf(v1::OutcomeKind expected, const std::vector<v1::OutcomeKind>& outcomes) {
  v1::Job job;
  job.mutable_spec()->mutable_policy()->set_expect(expected);
  std::vector<v1::Run> runs;
  for (const v1::OutcomeKind outcome : outcomes) runs.emplace_back().mutable_outcome()->set_kind(outcome);
  return static_cast<int>(ExitCodeOf(job, runs));
}

TEST(ExitCodeTest, OfJobs) {
  EXPECT_EQ(CodeOf(v1::COMPLETED, {v1::COMPLETED, v1::COMPLETED}), 0);
  EXPECT_EQ(CodeOf(v1::OUTCOME_KIND_UNSPECIFIED, {v1::COMPLETED}), 0);
  EXPECT_EQ(CodeOf(v1::COMPLETED, {v1::COMPLETED, v1::OOM_KILLED}), 1);
  EXPECT_EQ(CodeOf(v1::OOM_KILLED, {v1::OOM_KILLED}), 0);
  EXPECT_EQ(CodeOf(v1::OOM_KILLED, {v1::COMPLETED}), 1);
  EXPECT_EQ(CodeOf(v1::COMPLETED, {v1::CANCELLED}), 1);
  EXPECT_EQ(CodeOf(v1::COMPLETED, {v1::OOM_KILLED, v1::ENVIRONMENT_REFUSED}), 6);
  EXPECT_EQ(CodeOf(v1::COMPLETED, {v1::INVALID}), 6);
  EXPECT_EQ(CodeOf(v1::ENVIRONMENT_REFUSED, {v1::ENVIRONMENT_REFUSED}), 0);
}

}  // namespace
}  // namespace ballast::cli
