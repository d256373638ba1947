#include "common/base/status.h"

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace ballast::base {
namespace {

TEST(ErrnoStatusTest, MapsErrnoToCodes) {
  const std::vector<std::pair<int, absl::StatusCode>> cases = {
      {ENOENT, absl::StatusCode::kNotFound},
      {EACCES, absl::StatusCode::kPermissionDenied},
      {EPERM, absl::StatusCode::kPermissionDenied},
      {EROFS, absl::StatusCode::kPermissionDenied},
      {EEXIST, absl::StatusCode::kAlreadyExists},
      {ENOMEM, absl::StatusCode::kResourceExhausted},
      {ENOSPC, absl::StatusCode::kResourceExhausted},
      {EMFILE, absl::StatusCode::kResourceExhausted},
      {EINVAL, absl::StatusCode::kInvalidArgument},
      {EADDRINUSE, absl::StatusCode::kUnavailable},
      {EIO, absl::StatusCode::kInternal},
  };
  for (const auto& [number, code] : cases) EXPECT_EQ(ErrnoStatus(number, "x").code(), code) << number;
  EXPECT_EQ(std::string(ErrnoStatus(ENOENT, "open /no/such").message()), "open /no/such: No such file or directory");
}

TEST(WithContextTest, KeepsCodeAndLeavesOkAlone) {
  const absl::Status status = WithContext(absl::NotFoundError("gone"), "job 7");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(std::string(status.message()), "job 7: gone");
  EXPECT_TRUE(WithContext(absl::OkStatus(), "job 7").ok());
}

absl::StatusOr<std::unique_ptr<int>> Make(bool works) {
  if (!works) return absl::AbortedError("no");
  return std::make_unique<int>(3);
}

absl::StatusOr<int> UseMacros(bool first, bool second) {
  BALLAST_RETURN_IF_ERROR(first ? absl::OkStatus() : absl::CancelledError("first"));
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<int> value, Make(second));
  std::unique_ptr<int> other;
  BALLAST_ASSIGN_OR_RETURN(other, Make(true));
  return *value + *other;
}

TEST(StatusMacrosTest, ReturnTheFirstError) {
  EXPECT_EQ(UseMacros(true, true).value(), 6);
  EXPECT_TRUE(absl::IsCancelled(UseMacros(false, true).status()));
  EXPECT_TRUE(absl::IsAborted(UseMacros(true, false).status()));
}

}  // namespace
}  // namespace ballast::base
