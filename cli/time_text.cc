#include "cli/time_text.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "google/protobuf/util/time_util.h"

namespace ballast::cli {

absl::StatusOr<google::protobuf::Timestamp> ParseTime(const std::string& flag, const std::string& text,
                                                      const base::Clock& clock) {
  google::protobuf::Timestamp time;
  if (google::protobuf::util::TimeUtil::FromString(text, &time)) return time;
  if (text.size() == 10 && google::protobuf::util::TimeUtil::FromString(text + "T00:00:00Z", &time)) return time;
  if (const auto ago = base::ParseDuration(text); ago.ok()) return base::ToProto(clock.Now() - *ago);
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format("{}: {} is not a point in time", flag, base::Quoted(text))),
      fmt::format("{0} 24h, {0} 2025-03-01 or {0} 2025-03-01T14:00:00Z", flag));
}

}  // namespace ballast::cli
