#include "cli/exit_code.h"

#include <algorithm>

namespace ballast::cli {

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return ExitCode::kUsage;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return ExitCode::kUnreachable;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return ExitCode::kRefused;
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    default:
      return ExitCode::kEndedOtherwise;
  }
}

ExitCode ExitCodeOf(const v1::Job& job, const std::vector<v1::Run>& runs) {
  v1::OutcomeKind expected = job.spec().policy().expect();
  if (expected == v1::OUTCOME_KIND_UNSPECIFIED) expected = v1::COMPLETED;
  const auto as_expected = [&](const v1::Run& run) { return run.outcome().kind() == expected; };
  if (std::all_of(runs.begin(), runs.end(), as_expected)) return ExitCode::kDone;
  const auto refused = [&](const v1::Run& run) {
    const v1::OutcomeKind kind = run.outcome().kind();
    return !as_expected(run) && (kind == v1::ENVIRONMENT_REFUSED || kind == v1::INVALID);
  };
  return std::any_of(runs.begin(), runs.end(), refused) ? ExitCode::kRefused : ExitCode::kEndedOtherwise;
}

}  // namespace ballast::cli
