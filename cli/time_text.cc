#include "cli/time_text.h"

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "google/protobuf/util/time_util.h"

namespace ballast::cli {
namespace {

using google::protobuf::Timestamp;

// `from_now` says which time a duration means; `example` is such a duration.
template <typename FromNow>
absl::StatusOr<Timestamp> Parse(const std::string& flag, const std::string& text, const FromNow& from_now,
                                const char* example) {
  Timestamp time;
  if (google::protobuf::util::TimeUtil::FromString(text, &time)) return time;
  if (text.size() == 10 && google::protobuf::util::TimeUtil::FromString(text + "T00:00:00Z", &time)) return time;
  if (const auto duration = base::ParseDuration(text); duration.ok()) return from_now(*duration);
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format("{}: {} is not a point in time", flag, base::Quoted(text))),
      fmt::format("{0} {1}, {0} 2026-03-01 or {0} 2026-03-01T14:00:00Z", flag, example));
}

}  // namespace

absl::StatusOr<Timestamp> ParsePastTime(const std::string& flag, const std::string& text, const base::Clock& clock) {
  const auto ago = [&](std::chrono::nanoseconds duration) { return base::ToProto(clock.Now() - duration); };
  return Parse(flag, text, ago, "24h");
}

absl::StatusOr<Timestamp> ParseComingTime(const std::string& flag, const std::string& text, const base::Clock& clock) {
  const auto later = [&](std::chrono::nanoseconds duration) { return TimeAfter(flag, clock.Now(), duration); };
  return Parse(flag, text, later, "2h");
}

absl::StatusOr<Timestamp> TimeAfter(const std::string& flag, base::SystemTime time, std::chrono::nanoseconds duration) {
  if (time.time_since_epoch() <= std::chrono::nanoseconds::max() - duration) return base::ToProto(time + duration);
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format("{}: {} later is no time any more", flag, base::FormatDuration(duration))),
      fmt::format("{} 2h", flag));
}

}  // namespace ballast::cli
