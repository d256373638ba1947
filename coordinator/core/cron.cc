#include "coordinator/core/cron.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "absl/time/civil_time.h"
#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::core {
namespace {

constexpr std::size_t kMaxBytes = 256;
// From one 29 February to the next on the same day of the week, over a year that has none.
constexpr int kLongestGapYears = 40;
constexpr std::array<std::size_t, 13> kLongestMonth = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kDays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  std::string_view name;
  int min;
  int max;
  std::span<const std::string_view> names;  // of min and what follows
};
constexpr std::array<Field, 5> kFields = {{
    {"minute", 0, 59, {}},
    {"hour", 0, 23, {}},
    {"day of the month", 1, 31, {}},
    {"month", 1, 12, kMonths},
    {"day of the week", 0, 7, kDays},
}};

constexpr std::pair<std::string_view, std::string_view> kShort[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

absl::Status Problem(const Field& field, std::string_view text) {
  return absl::InvalidArgumentError(
      fmt::format("the {} {} is none: expected {} to {}{}, `*`, lists, ranges and steps such as `1,10-20/2`",
                  field.name, base::Quoted(text), field.min, field.max,
                  field.names.empty() ? "" : fmt::format(" or names such as {}", field.names[0])));
}

// A range that begins after its end: what it would be around the end of the hour, day, year or week.
absl::Status Backwards(const Field& field, std::string_view first, std::string_view last) {
  return absl::InvalidArgumentError(fmt::format(
      "the {} {}: a range goes from the lower to the higher value, and {} is after {}; write what lies "
      "around the end as two, `{}-{},{}-{}`",
      field.name, base::Quoted(fmt::format("{}-{}", first, last)), first, last, first, field.max, field.min, last));
}

std::optional<int> ParseValue(const Field& field, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) {
    return value >= field.min && value <= field.max ? std::optional<int>(value) : std::nullopt;
  }
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto name = std::ranges::find(field.names, std::string_view(lower));
  if (name == field.names.end()) return std::nullopt;
  return field.min + static_cast<int>(name - field.names.begin());
}

// What stands between blanks, of any kind and number.
std::vector<std::string_view> Words(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
    words.push_back(word);
    text.remove_prefix(word.size());
  }
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// The values of a field, `min` to `max`.
absl::StatusOr<std::vector<int>> ParseField(const Field& field, std::string_view text) {
  std::vector<int> values;
  for (const std::string_view part : Split(text, ',')) {
    const std::size_t slash = part.find('/');
    const std::string_view range = part.substr(0, slash);
    const std::size_t dash = range.find('-');
    std::optional<int> first = field.min;
    std::optional<int> last = field.max;
    int step = 1;
    if (range != "*") {
      first = ParseValue(field, range.substr(0, dash));
      last = dash != std::string_view::npos             ? ParseValue(field, range.substr(dash + 1))
             : slash != std::string_view::npos && first ? std::optional<int>(field.max)
                                                        : first;
    }
    if (slash != std::string_view::npos) {
      const std::string_view given = part.substr(slash + 1);
      const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), step);
      if (error != std::errc() || end != given.data() + given.size() || step < 1) return Problem(field, part);
    }
    if (!first || !last) return Problem(field, part);
    if (*first > *last) return Backwards(field, range.substr(0, dash), range.substr(dash + 1));
    // In a wider type: a step may be as large as a number gets.
    for (std::int64_t value = *first; value <= *last; value += step) values.push_back(static_cast<int>(value));
  }
  return values;
}

}  // namespace

absl::StatusOr<Cron> Cron::Parse(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(fmt::format("it has {} bytes; at most {} are accepted", text.size(), kMaxBytes));
  }
  const std::vector<std::string_view> words = Words(text);
  if (words.size() == 1 && words.front().starts_with("@")) {
    const auto known = std::ranges::find(kShort, words.front(), &std::pair<std::string_view, std::string_view>::first);
    if (known == std::end(kShort)) {
      return absl::InvalidArgumentError(
          fmt::format("{} is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually",
                      base::Quoted(words.front())));
    }
    return Parse(known->second);
  }
  if (words.size() != kFields.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} fields; it needs five: minute, hour, day of the month, month, day of the week",
                    base::Quoted(text), words.size()));
  }
  std::array<std::vector<int>, kFields.size()> values;
  for (std::size_t i = 0; i < kFields.size(); ++i) {
    BALLAST_ASSIGN_OR_RETURN(values[i], ParseField(kFields[i], words[i]));
  }
  Cron cron;
  for (const int value : values[0]) cron.minutes_.set(static_cast<std::size_t>(value));
  for (const int value : values[1]) cron.hours_.set(static_cast<std::size_t>(value));
  for (const int value : values[2]) cron.days_.set(static_cast<std::size_t>(value));
  for (const int value : values[3]) cron.months_.set(static_cast<std::size_t>(value));
  for (const int value : values[4]) cron.weekdays_.set(static_cast<std::size_t>(value % 7));
  cron.any_day_ = words[2].starts_with('*');
  cron.any_weekday_ = words[4].starts_with('*');
  if (!cron.HasDate()) {
    return absl::InvalidArgumentError(
        fmt::format("{} never comes: none of its months has such a day of the month", base::Quoted(text)));
  }
  return cron;
}

// Whether there is a day that matches in some year. The day of the week decides nothing: over the years every date
// falls on each of them.
bool Cron::HasDate() const {
  if (!any_day_ && !any_weekday_) return true;  // either will do, and every month has every day of the week
  for (std::size_t month = 1; month < months_.size(); ++month) {
    for (std::size_t day = 1; months_[month] && day <= kLongestMonth[month]; ++day) {
      if (days_[day]) return true;
    }
  }
  return false;
}

bool Cron::MatchesDay(absl::CivilDay day) const {
  const bool day_matches = days_[static_cast<std::size_t>(day.day())];
  // absl counts from Monday.
  const auto weekday = (static_cast<std::size_t>(absl::GetWeekday(day)) + 1) % 7;
  const bool weekday_matches = weekdays_[weekday];
  if (any_day_ || any_weekday_) return day_matches && weekday_matches;
  return day_matches || weekday_matches;
}

std::optional<base::SystemTime> Cron::Next(base::SystemTime after, absl::TimeZone zone) const {
  const absl::Time start = absl::FromChrono(after);
  absl::CivilMinute minute = absl::ToCivilMinute(start, zone) + 1;
  const absl::CivilYear last = absl::CivilYear(minute) + kLongestGapYears;
  while (absl::CivilYear(minute) <= last) {
    if (!months_[static_cast<std::size_t>(minute.month())]) {
      minute = absl::CivilMinute(absl::CivilMonth(minute) + 1);
    } else if (!MatchesDay(absl::CivilDay(minute))) {
      minute = absl::CivilMinute(absl::CivilDay(minute) + 1);
    } else if (!hours_[static_cast<std::size_t>(minute.hour())]) {
      minute = absl::CivilMinute(absl::CivilHour(minute) + 1);
    } else if (!minutes_[static_cast<std::size_t>(minute.minute())]) {
      ++minute;
    } else {
      const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(minute));
      const absl::Time time = info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
      if (time > start) return base::SystemTime(std::chrono::nanoseconds(absl::ToUnixNanos(time)));
      ++minute;
    }
  }
  return std::nullopt;
}

}  // namespace ballast::core
