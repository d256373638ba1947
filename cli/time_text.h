// Points in time as people write them in flags.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::cli {

// A point in time from RFC 3339 text (`2025-03-01T14:05:09Z`), a date (`2025-03-01`: its beginning in UTC), or a
// duration: before now (`24h`), for flags that look back. INVALID_ARGUMENT names `flag`.
[[nodiscard]] absl::StatusOr<google::protobuf::Timestamp> ParsePastTime(const std::string& flag,
                                                                        const std::string& text,
                                                                        const base::Clock& clock);

// The same for flags that plan: a duration means from now on (`2h`: in two hours).
[[nodiscard]] absl::StatusOr<google::protobuf::Timestamp> ParseComingTime(const std::string& flag,
                                                                          const std::string& text,
                                                                          const base::Clock& clock);

// `duration`, which is not below 0, after `time`. INVALID_ARGUMENT names `flag` where that is further away than times
// can be told.
[[nodiscard]] absl::StatusOr<google::protobuf::Timestamp> TimeAfter(const std::string& flag, base::SystemTime time,
                                                                    std::chrono::nanoseconds duration);

}  // namespace ballast::cli
