#include "cli/render/text_value.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "google/protobuf/util/time_util.h"

namespace ballast::cli {
namespace {

std::string Bytes(double value) {
  const double magnitude = std::min(std::abs(value), 9.2e18);
  return (value < 0 ? "-" : "") + base::FormatBytes(static_cast<std::uint64_t>(std::llround(magnitude)));
}

// Three significant digits, or all of a whole number where it has more: no exponent.
std::string ThreeDigits(double value) {
  return std::abs(value) < 999.5 ? fmt::format("{:.3g}", value) : fmt::format("{:.0f}", value);
}

}  // namespace

std::string LocalTime(bool present, const google::protobuf::Timestamp& time) {
  if (!present) return {};
  const std::time_t seconds = time.seconds();
  std::tm parts{};
  if (::localtime_r(&seconds, &parts) == nullptr) return {};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string Rfc3339(bool present, const google::protobuf::Timestamp& time) {
  // Outside these years there is no RFC 3339 text; protobuf's printer would abort.
  using google::protobuf::util::TimeUtil;
  if (!present || time.seconds() < TimeUtil::kTimestampMinSeconds || time.seconds() > TimeUtil::kTimestampMaxSeconds ||
      time.nanos() < 0 || time.nanos() > 999'999'999) {
    return {};
  }
  return TimeUtil::ToString(time);
}

std::string Seconds(const google::protobuf::Duration& duration) {
  const double seconds = base::ToSeconds(base::FromProto(duration));
  return fmt::format("{}", std::round(seconds * 1000.0) / 1000.0);
}

std::string Stopwatch(const google::protobuf::Duration& duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(base::FromProto(duration)).count();
  if (seconds >= 3600) return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

std::string Percent(double value) {
  return fmt::format("{:.1f} %", value);
}

std::string StallText(const v1::PsiTarget& target) {
  return fmt::format("PSI {} {}", target.kind() == v1::PsiTarget::FULL ? "full" : "some", Percent(target.percent()));
}

std::string Number(double value) {
  return fmt::format("{:.6g}", value);
}

std::string FigureText(std::string_view name, double value) {
  if (name.ends_with("_bytes_per_second")) return Bytes(value) + "/s";
  if (name.ends_with("_bytes")) return Bytes(value);
  if (name.ends_with("_percent")) return Percent(value);
  if (name.ends_with("_seconds")) {
    const bool small = value != 0 && std::abs(value) < 1;
    return small ? ThreeDigits(value * 1000) + " ms" : ThreeDigits(value) + " s";
  }
  if (name.ends_with("_per_second")) return ThreeDigits(value);
  return Number(value);
}

std::string KeyValues(const google::protobuf::Map<std::string, std::string>& values) {
  const std::map<std::string, std::string> ordered(values.begin(), values.end());
  std::string text;
  for (const auto& [key, value] : ordered) text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  return text;
}

std::string WorkloadName(const v1::Workload& workload) {
  const auto member = [](const google::protobuf::Message& message, const char* oneof) -> std::string {
    const auto* field =
        message.GetReflection()->GetOneofFieldDescriptor(message, message.GetDescriptor()->FindOneofByName(oneof));
    return field == nullptr ? "" : std::string(field->name());
  };
  return workload.has_pressure() ? member(workload.pressure(), "pattern") : member(workload, "kind");
}

}  // namespace ballast::cli
