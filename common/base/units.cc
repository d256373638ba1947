#include "common/base/units.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "common/base/text.h"

namespace ballast::base {
namespace {

// Also the most nanoseconds that std::chrono holds.
constexpr std::uint64_t kMaxValue = std::numeric_limits<std::int64_t>::max();

struct ByteUnit {
  std::string_view name;  // lower case
  std::uint64_t bytes;
};
constexpr std::array<ByteUnit, 16> kByteUnits = {{{"b", 1},
                                                  {"k", 1ULL << 10U},
                                                  {"kb", 1ULL << 10U},
                                                  {"kib", 1ULL << 10U},
                                                  {"m", 1ULL << 20U},
                                                  {"mb", 1ULL << 20U},
                                                  {"mib", 1ULL << 20U},
                                                  {"g", 1ULL << 30U},
                                                  {"gb", 1ULL << 30U},
                                                  {"gib", 1ULL << 30U},
                                                  {"t", 1ULL << 40U},
                                                  {"tb", 1ULL << 40U},
                                                  {"tib", 1ULL << 40U},
                                                  {"p", 1ULL << 50U},
                                                  {"pb", 1ULL << 50U},
                                                  {"pib", 1ULL << 50U}}};

struct TimeUnit {
  std::string_view name;
  std::int64_t nanoseconds;
};
constexpr std::array<TimeUnit, 7> kTimeUnits = {{{"ns", 1},
                                                 {"us", 1'000},
                                                 {"ms", 1'000'000},
                                                 {"s", 1'000'000'000},
                                                 {"m", 60'000'000'000},
                                                 {"h", 3'600'000'000'000},
                                                 {"d", 86'400'000'000'000}}};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// A plain decimal number, exact: whole + fraction / scale. A double would lose bytes and nanoseconds above 2^53.
struct Decimal {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;
  std::uint64_t scale = 1;  // a power of ten; digits beyond the 18th after the point say nothing that a unit could show
  bool too_large = false;   // the whole part does not fit
};

__extension__ using Wide = unsigned __int128;

// Takes digits with at most one point among them (no sign, exponent, inf or nan) off the front of `text`.
bool TakeDecimal(std::string_view* text, Decimal* decimal) {
  constexpr std::uint64_t kMaxScale = 1'000'000'000'000'000'000;
  bool after_point = false;
  bool any_digit = false;
  std::size_t length = 0;
  for (; length < text->size(); ++length) {
    const char c = (*text)[length];
    if (c == '.') {
      if (after_point) return false;
      after_point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    any_digit = true;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (!after_point) {
      if (decimal->whole > kMaxValue / 10) decimal->too_large = true;
      if (!decimal->too_large) decimal->whole = decimal->whole * 10 + digit;
    } else if (decimal->scale < kMaxScale) {
      decimal->fraction = decimal->fraction * 10 + digit;
      decimal->scale *= 10;
    }
  }
  text->remove_prefix(length);
  return any_digit;
}

// `decimal` units of `factor` each, rounded to a whole number; nothing where 63 bits do not hold it.
std::optional<std::uint64_t> Times(const Decimal& decimal, std::uint64_t factor) {
  if (decimal.too_large) return std::nullopt;
  const Wide fraction = (Wide{decimal.fraction} * factor + decimal.scale / 2) / decimal.scale;
  const Wide product = Wide{decimal.whole} * factor + fraction;
  if (product > kMaxValue) return std::nullopt;
  return static_cast<std::uint64_t>(product);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text) {
  const absl::Status problem = absl::InvalidArgumentError(
      fmt::format("{} is not a size; write it as 100 (MiB), 512KB, 100MB or 1.5GiB", Quoted(text)));
  std::string_view rest = Trim(text);
  Decimal number;
  if (!TakeDecimal(&rest, &number)) return problem;
  const std::string unit = Lower(Trim(rest));
  std::uint64_t factor = 1ULL << 20U;
  if (!unit.empty()) {
    const auto* const known = std::find_if(kByteUnits.begin(), kByteUnits.end(),
                                           [&](const ByteUnit& candidate) { return candidate.name == unit; });
    if (known == kByteUnits.end()) return problem;
    factor = known->bytes;
  }
  const std::optional<std::uint64_t> bytes = Times(number, factor);
  if (!bytes) return absl::InvalidArgumentError(fmt::format("{} is more than any machine has", Quoted(text)));
  return *bytes;
}

absl::StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const absl::Status problem = absl::InvalidArgumentError(
      fmt::format("{} is not a duration; write it as 5 (seconds), 250ms, 90s, 10m or 8h", Quoted(text)));
  const absl::Status too_long = absl::InvalidArgumentError(fmt::format("{} is too long a time", Quoted(text)));
  std::string_view rest = Trim(text);
  if (rest.empty()) return problem;
  std::uint64_t total = 0;
  std::int64_t last_factor = std::numeric_limits<std::int64_t>::max();
  bool overflow = false;
  while (!rest.empty()) {
    Decimal number;
    if (!TakeDecimal(&rest, &number)) return problem;
    rest = Trim(rest);
    std::size_t length = 0;
    while (length < rest.size() && std::isalpha(static_cast<unsigned char>(rest[length])) != 0) ++length;
    std::string unit = Lower(rest.substr(0, length));
    rest = Trim(rest.substr(length));
    if (unit.empty()) {
      if (last_factor != std::numeric_limits<std::int64_t>::max() || !rest.empty())
        return problem;  // a bare number stands alone
      unit = "s";
    }
    const auto* const known = std::find_if(kTimeUnits.begin(), kTimeUnits.end(),
                                           [&](const TimeUnit& candidate) { return candidate.name == unit; });
    if (known == kTimeUnits.end() || known->nanoseconds >= last_factor)
      return problem;  // larger units come first, each once
    last_factor = known->nanoseconds;
    const std::optional<std::uint64_t> part = Times(number, static_cast<std::uint64_t>(known->nanoseconds));
    // Both are below 2^63, so the sum does not wrap.
    if (part) total += *part;
    if (!part || total > kMaxValue) {
      overflow = true;
      total = 0;
    }
  }
  if (overflow) return too_long;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(total));
}

absl::StatusOr<double> ParsePercent(std::string_view text) {
  const absl::Status problem =
      absl::InvalidArgumentError(fmt::format("{} is not a percentage; write it as 70 or 70%", Quoted(text)));
  std::string_view number = Trim(text);
  if (!number.empty() && number.back() == '%') number = Trim(number.substr(0, number.size() - 1));
  // from_chars would take inf and nan as well.
  if (number.find_first_not_of("-.0123456789") != std::string_view::npos) return problem;
  double value = 0;
  const char* const last = number.data() + number.size();
  const auto [end, error] = std::from_chars(number.data(), last, value, std::chars_format::fixed);
  if (error != std::errc() || end != last) return problem;
  return value;
}

std::string FormatBytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  std::string number = value >= 99.95   ? fmt::format("{:.0f}", value)
                       : value >= 9.995 ? fmt::format("{:.1f}", value)
                                        : fmt::format("{:.2f}", value);
  if (number.find('.') != std::string::npos) {
    while (number.back() == '0') number.pop_back();
    if (number.back() == '.') number.pop_back();
  }
  return fmt::format("{} {}", number, kNames[unit]);
}

std::string BytesToText(std::uint64_t bytes) {
  constexpr std::array<std::pair<unsigned, std::string_view>, 5> kNames = {
      {{50, "PiB"}, {40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}}};
  for (const auto& [shift, name] : kNames) {
    if (bytes != 0 && bytes % (1ULL << shift) == 0) return fmt::format("{}{}", bytes >> shift, name);
  }
  return fmt::format("{}B", bytes);
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  // The least duration has no positive counterpart.
  if (duration == std::chrono::nanoseconds::min()) duration += std::chrono::nanoseconds(1);
  if (duration.count() < 0) return "-" + FormatDuration(-duration);
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
}

std::string DurationToText(std::chrono::nanoseconds duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  for (auto unit = kTimeUnits.rbegin(); unit != kTimeUnits.rend(); ++unit) {
    if (count % unit->nanoseconds == 0) return fmt::format("{}{}", count / unit->nanoseconds, unit->name);
  }
  return fmt::format("{}ns", count);
}

}  // namespace ballast::base
