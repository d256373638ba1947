// Cron expressions: the times that they name.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace ballast::core {

// Five fields as in crontab(5): minute, hour, day of the month, month, day of the week (0 and 7 are Sunday); `*`,
// lists, ranges, steps, English names of months and days; or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
// `@yearly`, `@annually`. Any blanks stand between fields. Where both days are limited, either will do. Immutable and
// copyable.
class Cron {
 public:
  // INVALID_ARGUMENT names the field and what may stand there, or says that no date is what the expression asks for.
  [[nodiscard]] static absl::StatusOr<Cron> Parse(std::string_view text);

  // The first time after `after` in this time zone; there is one, except of a Cron that was not parsed. A time
  // that a change of the clock leaves out is that of the change; one that comes twice is the first of the two.
  [[nodiscard]] std::optional<base::SystemTime> Next(base::SystemTime after, absl::TimeZone zone) const;

 private:
  [[nodiscard]] bool HasDate() const;
  [[nodiscard]] bool MatchesDay(absl::CivilDay day) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;
  bool any_day_ = false;  // the field of the day is not limited
  bool any_weekday_ = false;
};

}  // namespace ballast::core
