#include "common/config/field_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/config/field_text.h"
#include "common/config/pattern.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/protobuf/util/time_util.h"

namespace ballast::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

constexpr std::int64_t kMostDurationSeconds = 315'576'000'000;  // what google.protobuf.Duration allows
constexpr std::int32_t kNanosPerSecond = 1'000'000'000;

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type() == google::protobuf::Duration::descriptor();
}

bool IsTimestamp(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type() == google::protobuf::Timestamp::descriptor();
}

// Shortest text without an exponent that reads back to the same number.
template <typename Number>
std::string PlainNumber(Number value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  std::array<char, 512> buffer{};  // the longest double has 17 digits and 324 zeros
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  return error == std::errc() ? std::string(buffer.data(), end) : fmt::format("{}", value);
}

// A bound of the rules, written as a person would write the value.
std::string BoundText(const FieldDescriptor& field, double bound) {
  if (!field.is_repeated()) {
    if (IsDuration(field)) {
      return base::DurationToText(std::chrono::nanoseconds(std::llround(bound * kNanosPerSecond)));
    }
    if (RulesOf(field).unit() == v1::PERCENT) return PlainNumber(bound) + "%";
    if (RulesOf(field).unit() == v1::BYTES && bound >= 0) return base::BytesToText(static_cast<std::uint64_t>(bound));
  }
  return PlainNumber(bound);
}

// `above 0% and at most 100%`; empty where the field has no bounds.
std::string BoundsText(const FieldDescriptor& field) {
  const v1::FieldRules& rules = RulesOf(field);
  std::string text;
  const auto add = [&](std::string_view words, double bound) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", words, BoundText(field, bound));
  };
  if (rules.has_above()) add("above", rules.above());
  if (rules.has_min()) add("at least", rules.min());
  if (rules.has_max()) add("at most", rules.max());
  return text;
}

// Written so that NaN is outside of every bound.
bool IsWithinBounds(const v1::FieldRules& rules, double value) {
  if (rules.has_above() && !(value > rules.above())) return false;
  if (rules.has_min() && !(value >= rules.min())) return false;
  return !rules.has_max() || value <= rules.max();
}

// " (at least 1 and at most 20)" behind a message that says what a value looks like.
absl::Status NotAValue(const FieldDescriptor& field, std::string_view problem) {
  const std::string bounds = field.is_repeated() ? "" : BoundsText(field);
  return absl::InvalidArgumentError(bounds.empty() ? std::string(problem) : fmt::format("{} ({})", problem, bounds));
}

// The names of an enum that a value can have; the unspecified value stands for none.
std::vector<std::string> ValueNames(const EnumDescriptor& descriptor) {
  std::vector<std::string> names;
  for (int i = 0; i < descriptor.value_count(); ++i) {
    if (descriptor.value(i)->number() != 0) names.push_back(descriptor.value(i)->name());
  }
  return names;
}

absl::StatusOr<int> ParseEnum(const FieldDescriptor& field, std::string_view text) {
  const EnumDescriptor& descriptor = *field.enum_type();
  // People write `llama.cpp`, `mmap+populate` and `as-is`.
  std::string name(text);
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == '+' || c == '-'; }, '_');
  for (int i = 0; i < descriptor.value_count(); ++i) {
    const EnumValueDescriptor& value = *descriptor.value(i);
    if (value.number() != 0 && absl::EqualsIgnoreCase(value.name(), name)) return value.number();
  }
  const std::vector<std::string> names = ValueNames(descriptor);
  const std::string hint = DidYouMean(text, names);
  return absl::InvalidArgumentError(
      fmt::format("must be {}, not {}{}", Alternatives(names), base::Quoted(text), hint.empty() ? "" : "; " + hint));
}

template <typename Integer>
absl::StatusOr<Integer> ParseInteger(const FieldDescriptor& field, std::string_view text) {
  Integer value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error == std::errc() && end == last) return value;
  if (error == std::errc::result_out_of_range && end == last) {
    return NotAValue(field, fmt::format("{} does not fit; write a whole number from {} to {}", base::Quoted(text),
                                        std::numeric_limits<Integer>::min(), std::numeric_limits<Integer>::max()));
  }
  return NotAValue(field, fmt::format("{} is not a whole number{}", base::Quoted(text),
                                      std::numeric_limits<Integer>::is_signed ? "" : " of 0 or more"));
}

template <typename Number>
absl::StatusOr<Number> ParseNumber(const FieldDescriptor& field, std::string_view text) {
  Number value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error == std::errc() && end == last && std::isfinite(value)) return value;
  return NotAValue(field, fmt::format("{} is not a number", base::Quoted(text)));
}

template <typename Number>
absl::StatusOr<Number> ParseReal(const FieldDescriptor& field, std::string_view text) {
  if (RulesOf(field).unit() != v1::PERCENT) return ParseNumber<Number>(field, text);
  const absl::StatusOr<double> percent = base::ParsePercent(text);
  if (!percent.ok()) return NotAValue(field, std::string(percent.status().message()));
  return static_cast<Number>(*percent);
}

template <typename Integer>
absl::StatusOr<Integer> ParseWhole(const FieldDescriptor& field, std::string_view text) {
  if (RulesOf(field).unit() != v1::BYTES) return ParseInteger<Integer>(field, text);
  const absl::StatusOr<std::uint64_t> bytes = base::ParseBytes(text);
  if (!bytes.ok()) return NotAValue(field, std::string(bytes.status().message()));
  if (!std::in_range<Integer>(*bytes)) {
    return NotAValue(field,
                     fmt::format("{} does not fit; the greatest is {}", base::Quoted(text),
                                 base::BytesToText(static_cast<std::uint64_t>(std::numeric_limits<Integer>::max()))));
  }
  return static_cast<Integer>(*bytes);
}

absl::StatusOr<bool> ParseBool(const FieldDescriptor& field, std::string_view text) {
  if (absl::EqualsIgnoreCase(std::string(text), "true")) return true;
  if (absl::EqualsIgnoreCase(std::string(text), "false")) return false;
  return NotAValue(field, fmt::format("must be true or false, not {}", base::Quoted(text)));
}

absl::StatusOr<google::protobuf::Duration> ParseDurationValue(const FieldDescriptor& field, std::string_view text) {
  const absl::StatusOr<std::chrono::nanoseconds> duration = base::ParseDuration(text);
  if (!duration.ok()) return NotAValue(field, std::string(duration.status().message()));
  return base::ToProto(*duration);
}

absl::StatusOr<google::protobuf::Timestamp> ParseTimestamp(const FieldDescriptor& field, std::string_view text) {
  google::protobuf::Timestamp time;
  if (google::protobuf::util::TimeUtil::FromString(std::string(text), &time)) return time;
  return NotAValue(field, fmt::format("{} is not a time; write it as 2025-01-31T12:00:00Z", base::Quoted(text)));
}

absl::StatusOr<std::string> ParseString(const FieldDescriptor& field, std::string_view text) {
  if (field.type() == FieldDescriptor::TYPE_BYTES) {
    std::string bytes;
    if (absl::Base64Unescape(std::string(text), &bytes)) return bytes;
    return NotAValue(field, fmt::format("{} is not base64", base::Quoted(text)));
  }
  // A string field must hold UTF-8: the other end of a connection would refuse the whole message.
  if (base::FindInvalidUtf8(text) == std::string_view::npos) return std::string(text);
  return NotAValue(field, fmt::format("{} is not UTF-8 text", base::Quoted(text)));
}

// What is wrong with a string by its pattern. A pattern of words alone is a list of what is accepted.
std::optional<std::string> ProblemWithPattern(const std::string& pattern, const std::string& value) {
  if (!CheckPattern(pattern).ok() || MatchesPattern(pattern, value)) return std::nullopt;
  if (pattern.find_first_not_of("abcdefghijklmnopqrstuvwxyz_|") != std::string::npos) {
    return fmt::format("must match the pattern {}, not be {}", pattern, base::Quoted(value));
  }
  const std::vector<std::string> words = absl::StrSplit(pattern, '|');
  const std::string hint = DidYouMean(value, words);
  return fmt::format("must be {}, not {}{}", Alternatives(words), base::Quoted(value), hint.empty() ? "" : "; " + hint);
}

// The last entry of a repeated field, or the one value.
int LastIndex(const Message& message, const FieldDescriptor& field) {
  return field.is_repeated() ? message.GetReflection()->FieldSize(message, &field) - 1 : kSingular;
}

}  // namespace

const v1::FieldRules& RulesOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::field);
}

bool IsWrittenAsText(const FieldDescriptor& field) {
  return field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || IsDuration(field) || IsTimestamp(field);
}

absl::Status ParseValue(Message* message, const FieldDescriptor& field, std::string_view text) {
  const Reflection& reflection = *message->GetReflection();
// The twelve setters of protobuf's reflection differ only in name.
#define BALLAST_STORE(Type, parse)                             \
  {                                                            \
    BALLAST_ASSIGN_OR_RETURN(auto value, parse);               \
    if (field.is_repeated()) {                                 \
      reflection.Add##Type(message, &field, std::move(value)); \
    } else {                                                   \
      reflection.Set##Type(message, &field, std::move(value)); \
    }                                                          \
    return absl::OkStatus();                                   \
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      BALLAST_STORE(Bool, ParseBool(field, text))
    case FieldDescriptor::CPPTYPE_INT32:
      BALLAST_STORE(Int32, ParseWhole<std::int32_t>(field, text))
    case FieldDescriptor::CPPTYPE_INT64:
      BALLAST_STORE(Int64, ParseWhole<std::int64_t>(field, text))
    case FieldDescriptor::CPPTYPE_UINT32:
      BALLAST_STORE(UInt32, ParseWhole<std::uint32_t>(field, text))
    case FieldDescriptor::CPPTYPE_UINT64:
      BALLAST_STORE(UInt64, ParseWhole<std::uint64_t>(field, text))
    case FieldDescriptor::CPPTYPE_FLOAT:
      BALLAST_STORE(Float, ParseReal<float>(field, text))
    case FieldDescriptor::CPPTYPE_DOUBLE:
      BALLAST_STORE(Double, ParseReal<double>(field, text))
    case FieldDescriptor::CPPTYPE_ENUM:
      BALLAST_STORE(EnumValue, ParseEnum(field, text))
    case FieldDescriptor::CPPTYPE_STRING:
      BALLAST_STORE(String, ParseString(field, text))
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
#undef BALLAST_STORE
  const auto slot = [&] {
    return field.is_repeated() ? reflection.AddMessage(message, &field) : reflection.MutableMessage(message, &field);
  };
  if (IsDuration(field)) {
    BALLAST_ASSIGN_OR_RETURN(const google::protobuf::Duration duration, ParseDurationValue(field, text));
    slot()->CopyFrom(duration);
    return absl::OkStatus();
  }
  if (IsTimestamp(field)) {
    BALLAST_ASSIGN_OR_RETURN(const google::protobuf::Timestamp time, ParseTimestamp(field, text));
    slot()->CopyFrom(time);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("is a group of fields, not one value");
}

absl::Status ParseAndCheckValue(Message* message, const FieldDescriptor& field, std::string_view text) {
  const std::unique_ptr<Message> scratch(message->New());
  BALLAST_RETURN_IF_ERROR(ParseValue(scratch.get(), field, text));
  if (std::optional<std::string> problem = ProblemWithValue(*scratch, field, LastIndex(*scratch, field))) {
    return absl::InvalidArgumentError(*problem);
  }
  // Sentences that are about a value that was written: an absent one has others.
  if (RulesOf(field).required() && field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && text.empty()) {
    return absl::InvalidArgumentError("must not be empty");
  }
  return ParseValue(message, field, text);
}

std::string ValueText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index == kSingular;
  const auto whole = [&](auto value) {
    return RulesOf(field).unit() == v1::BYTES && value >= 0 ? base::BytesToText(static_cast<std::uint64_t>(value))
                                                            : fmt::format("{}", value);
  };
  const auto real = [&](auto value) { return PlainNumber(value) + (RulesOf(field).unit() == v1::PERCENT ? "%" : ""); };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? reflection.GetBool(message, &field) : reflection.GetRepeatedBool(message, &field, index)) ? "true"
                                                                                                              : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return whole(one ? reflection.GetInt32(message, &field) : reflection.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return whole(one ? reflection.GetInt64(message, &field) : reflection.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return whole(one ? reflection.GetUInt32(message, &field) : reflection.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return whole(one ? reflection.GetUInt64(message, &field) : reflection.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return real(one ? reflection.GetFloat(message, &field) : reflection.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return real(one ? reflection.GetDouble(message, &field) : reflection.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number =
          one ? reflection.GetEnumValue(message, &field) : reflection.GetRepeatedEnumValue(message, &field, index);
      const EnumValueDescriptor* const value = field.enum_type()->FindValueByNumber(number);
      return value != nullptr ? value->name() : fmt::format("{}", number);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value =
          one ? reflection.GetString(message, &field) : reflection.GetRepeatedString(message, &field, index);
      return field.type() == FieldDescriptor::TYPE_BYTES ? absl::Base64Escape(value) : value;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  const Message& value =
      one ? reflection.GetMessage(message, &field) : reflection.GetRepeatedMessage(message, &field, index);
  if (IsDuration(field)) {
    google::protobuf::Duration duration;
    duration.CopyFrom(value);
    return base::DurationToText(base::FromProto(duration));
  }
  if (IsTimestamp(field)) {
    google::protobuf::Timestamp time;
    time.CopyFrom(value);
    using google::protobuf::util::TimeUtil;
    const bool valid = time.seconds() >= TimeUtil::kTimestampMinSeconds &&
                       time.seconds() <= TimeUtil::kTimestampMaxSeconds && time.nanos() >= 0 &&
                       time.nanos() < kNanosPerSecond;
    return valid ? TimeUtil::ToString(time) : "";  // its printer ends the program otherwise
  }
  return "";
}

std::optional<double> NumberOf(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool one = index == kSingular;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? reflection.GetInt32(message, &field) : reflection.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(one ? reflection.GetInt64(message, &field)
                                     : reflection.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? reflection.GetUInt32(message, &field) : reflection.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return static_cast<double>(one ? reflection.GetUInt64(message, &field)
                                     : reflection.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return one ? reflection.GetFloat(message, &field) : reflection.GetRepeatedFloat(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? reflection.GetDouble(message, &field) : reflection.GetRepeatedDouble(message, &field, index);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
    case FieldDescriptor::CPPTYPE_ENUM:
    case FieldDescriptor::CPPTYPE_STRING:
      return std::nullopt;
  }
  if (!IsDuration(field)) return std::nullopt;
  google::protobuf::Duration duration;
  duration.CopyFrom(one ? reflection.GetMessage(message, &field)
                        : reflection.GetRepeatedMessage(message, &field, index));
  return static_cast<double>(duration.seconds()) + static_cast<double>(duration.nanos()) / kNanosPerSecond;
}

std::optional<std::string> ProblemWithValue(const Message& message, const FieldDescriptor& field, int index) {
  const v1::FieldRules& rules = RulesOf(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    if (rules.pattern().empty()) return std::nullopt;
    return ProblemWithPattern(rules.pattern(), ValueText(message, field, index));
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    const Reflection& reflection = *message.GetReflection();
    const int number = index == kSingular ? reflection.GetEnumValue(message, &field)
                                          : reflection.GetRepeatedEnumValue(message, &field, index);
    // Requests may hold numbers that this program's version does not know.
    if (field.enum_type()->FindValueByNumber(number) != nullptr) return std::nullopt;
    return fmt::format("must be {}, not {}", Alternatives(ValueNames(*field.enum_type())), number);
  }
  if (IsDuration(field)) {
    google::protobuf::Duration duration;
    const Reflection& reflection = *message.GetReflection();
    duration.CopyFrom(index == kSingular ? reflection.GetMessage(message, &field)
                                         : reflection.GetRepeatedMessage(message, &field, index));
    const std::int64_t seconds = duration.seconds();
    const std::int32_t nanos = duration.nanos();
    const bool in_range = seconds >= -kMostDurationSeconds && seconds <= kMostDurationSeconds &&
                          nanos > -kNanosPerSecond && nanos < kNanosPerSecond;
    if (!in_range || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) {
      return fmt::format("is no duration: {} seconds and {} nanoseconds", seconds, nanos);
    }
  }
  const std::optional<double> number = NumberOf(message, field, index);
  if (!number) return std::nullopt;
  if (!std::isfinite(*number)) return fmt::format("must be a number, not {}", PlainNumber(*number));
  // The bounds of a repeated field are for the number of its entries.
  if (field.is_repeated() || IsWithinBounds(rules, *number)) return std::nullopt;
  return fmt::format("must be {}, not {}", BoundsText(field), ValueText(message, field, index));
}

std::optional<std::string> ProblemWithCount(const Message& message, const FieldDescriptor& field) {
  const int count = message.GetReflection()->FieldSize(message, &field);
  if (IsWithinBounds(RulesOf(field), count)) return std::nullopt;
  return fmt::format("must have {} entries, not {}", BoundsText(field), count);
}

absl::StatusOr<Message*> MapEntry(Message* message, const FieldDescriptor& field, std::string_view key) {
  const Reflection& reflection = *message->GetReflection();
  const FieldDescriptor& key_field = *field.message_type()->map_key();
  Message* const entry = reflection.AddMessage(message, &field);
  if (absl::Status parsed = ParseValue(entry, key_field, key); !parsed.ok()) {
    reflection.RemoveLast(message, &field);
    return parsed;
  }
  // Compared as written by ValueText, so that two spellings of a number are one key.
  const std::string canonical = ValueText(*entry, key_field);
  for (int i = 0; i + 1 < reflection.FieldSize(*message, &field); ++i) {
    Message* const other = reflection.MutableRepeatedMessage(message, &field, i);
    if (ValueText(*other, key_field) == canonical) {
      reflection.RemoveLast(message, &field);
      return other;
    }
  }
  return entry;
}

std::vector<std::string> FieldNames(const Descriptor& descriptor) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
  return names;
}

std::vector<std::string> MemberNames(const OneofDescriptor& oneof) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(oneof.field_count()));
  for (int i = 0; i < oneof.field_count(); ++i) names.push_back(oneof.field(i)->name());
  return names;
}

std::string Alternatives(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::string FieldHint(std::string_view name, const Descriptor& descriptor) {
  const std::vector<std::string> names = FieldNames(descriptor);
  std::string hint = DidYouMean(name, names);
  if (!hint.empty()) return hint;
  return names.empty() ? "no name is known here" : fmt::format("known here: {}", fmt::join(names, ", "));
}

}  // namespace ballast::config
