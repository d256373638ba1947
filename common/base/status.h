// Errors: absl::Status inside, with messages that name the cause and the place.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::base {

// The status for an errno value: `context` says what was tried and where ("open /proc/meminfo"). The one place where
// errno values become codes: ENOENT → NOT_FOUND, EACCES/EPERM → PERMISSION_DENIED, EEXIST → ALREADY_EXISTS,
// ENOMEM/ENOSPC/EDQUOT/EMFILE → RESOURCE_EXHAUSTED, EINVAL → INVALID_ARGUMENT, EADDRINUSE/EBUSY/EAGAIN → UNAVAILABLE,
// others → INTERNAL.
[[nodiscard]] absl::Status ErrnoStatus(int error_number, std::string_view context);

// The same status with "`context`: " before its message; OK stays OK.
[[nodiscard]] absl::Status WithContext(const absl::Status& status, std::string_view context);

}  // namespace ballast::base

// Returns from the enclosing function when `expression` is a non-OK absl::Status.
#define BALLAST_RETURN_IF_ERROR(expression)                                                      \
  do {                                                                                           \
    if (absl::Status ballast_status = (expression); !ballast_status.ok()) return ballast_status; \
  } while (false)

#define BALLAST_STATUS_CONCAT_INNER(a, b) a##b
#define BALLAST_STATUS_CONCAT(a, b) BALLAST_STATUS_CONCAT_INNER(a, b)

// Declares or assigns `target` from the value of an absl::StatusOr, or returns its status from the enclosing function.
#define BALLAST_ASSIGN_OR_RETURN(target, expression) \
  BALLAST_ASSIGN_OR_RETURN_IMPL(BALLAST_STATUS_CONCAT(ballast_statusor_, __LINE__), target, expression)
#define BALLAST_ASSIGN_OR_RETURN_IMPL(holder, target, expression) \
  auto holder = (expression);                                     \
  if (!holder.ok()) return std::move(holder).status();            \
  target = std::move(holder).value()
