// Points in time as people write them in flags.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::cli {

// A point in time from RFC 3339 text (`2025-03-01T14:05:09Z`), a date (`2025-03-01`: its beginning in UTC), or a
// duration before now (`24h`). INVALID_ARGUMENT names `flag`.
[[nodiscard]] absl::StatusOr<google::protobuf::Timestamp> ParseTime(const std::string& flag, const std::string& text,
                                                                    const base::Clock& clock);

}  // namespace ballast::cli
