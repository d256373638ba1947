#include "common/base/units.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::base {
namespace {

constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();

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

// Takes a plain decimal number (no sign, exponent, inf or nan) off the front of `text`.
bool TakeNumber(std::string_view* text, double* value) {
  std::size_t length = 0;
  while (length < text->size() && (std::isdigit(static_cast<unsigned char>((*text)[length])) != 0 || (*text)[length] == '.')) {
    ++length;
  }
  const auto [end, error] = std::from_chars(text->data(), text->data() + length, *value, std::chars_format::fixed);
  if (error != std::errc() || end != text->data() + length) return false;
  text->remove_prefix(length);
  return true;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text) {
  const absl::Status problem =
      absl::InvalidArgumentError(fmt::format("'{}' is not a size; write it as 100 (MiB), 512KB, 100MB or 1.5GiB", text));
  std::string_view rest = Trim(text);
  double number = 0;
  if (!TakeNumber(&rest, &number)) return problem;
  const std::string unit = Lower(Trim(rest));
  double factor = static_cast<double>(1ULL << 20U);
  if (!unit.empty()) {
    factor = 0;
    for (const ByteUnit& known : kByteUnits) {
      if (known.name == unit) factor = static_cast<double>(known.bytes);
    }
    if (factor == 0) return problem;
  }
  const double bytes = number * factor;
  if (bytes >= static_cast<double>(kMaxBytes)) {
    return absl::InvalidArgumentError(fmt::format("'{}' is more than any machine has", text));
  }
  return static_cast<std::uint64_t>(std::llround(bytes));
}

absl::StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const absl::Status problem =
      absl::InvalidArgumentError(fmt::format("'{}' is not a duration; write it as 5 (seconds), 250ms, 90s, 10m or 8h", text));
  std::string_view rest = Trim(text);
  double total = 0;
  bool any = false;
  double last_factor = std::numeric_limits<double>::infinity();
  while (!rest.empty()) {
    double number = 0;
    if (!TakeNumber(&rest, &number)) return problem;
    rest = Trim(rest);
    std::size_t length = 0;
    while (length < rest.size() && std::isalpha(static_cast<unsigned char>(rest[length])) != 0) ++length;
    const std::string unit = Lower(rest.substr(0, length));
    rest = Trim(rest.substr(length));
    double factor = 0;
    if (unit.empty()) {
      if (any || !rest.empty()) return problem;  // a bare number stands alone
      factor = 1e9;
    }
    for (const TimeUnit& known : kTimeUnits) {
      if (known.name == unit) factor = static_cast<double>(known.nanoseconds);
    }
    if (factor == 0 || factor >= last_factor) return problem;  // larger units come first, each once
    last_factor = factor;
    total += number * factor;
    any = true;
  }
  if (!any) return problem;
  if (total >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) {
    return absl::InvalidArgumentError(fmt::format("'{}' is too long", text));
  }
  return std::chrono::nanoseconds(std::llround(total));
}

absl::StatusOr<double> ParsePercent(std::string_view text) {
  const absl::Status problem = absl::InvalidArgumentError(fmt::format("'{}' is not a percentage; write it as 70 or 70%", text));
  std::string_view rest = Trim(text);
  const bool negative = !rest.empty() && rest.front() == '-';
  if (negative) rest.remove_prefix(1);
  double number = 0;
  if (!TakeNumber(&rest, &number)) return problem;
  rest = Trim(rest);
  if (!rest.empty() && rest != "%") return problem;
  return negative ? -number : number;
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
  std::string number = value >= 99.95 ? fmt::format("{:.0f}", value) : value >= 9.995 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
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
  const double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 0) return "-" + FormatDuration(-duration);
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
