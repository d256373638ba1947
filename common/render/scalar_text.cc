#include "common/render/scalar_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "fmt/format.h"
#include "google/protobuf/util/time_util.h"

namespace ballast::render {
namespace {

constexpr std::int32_t kNanosPerSecond = 1'000'000'000;

}  // namespace

std::string NumberText(double value) {
  if (!std::isfinite(value)) return {};
  if (value == 0) return "0";                                 // -0 would only puzzle readers
  constexpr double kExactIntegers = 9'007'199'254'740'992.0;  // 2^53
  std::array<char, 32> text{};
  // The shortest form of 100000 is 1e+05; byte counts and the like are read by people too, so whole numbers stay plain.
  const bool plain = std::trunc(value) == value && std::abs(value) < kExactIntegers;
  const std::to_chars_result result =
      plain ? std::to_chars(text.data(), text.data() + text.size(), static_cast<std::int64_t>(value))
            : std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), result.ptr};
}

std::string SecondsText(const google::protobuf::Duration& duration) {
  using google::protobuf::util::TimeUtil;
  const std::int64_t seconds = duration.seconds();
  const std::int32_t nanos = duration.nanos();
  const bool in_range = seconds >= TimeUtil::kDurationMinSeconds && seconds <= TimeUtil::kDurationMaxSeconds &&
                        nanos > -kNanosPerSecond && nanos < kNanosPerSecond;
  if (!in_range || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) return {};
  std::string text = fmt::format("{}{}", seconds < 0 || nanos < 0 ? "-" : "", seconds < 0 ? -seconds : seconds);
  if (nanos == 0) return text;
  text += fmt::format(".{:09}", nanos < 0 ? -nanos : nanos);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  using google::protobuf::util::TimeUtil;
  const bool in_range = time.seconds() >= TimeUtil::kTimestampMinSeconds &&
                        time.seconds() <= TimeUtil::kTimestampMaxSeconds && time.nanos() >= 0 &&
                        time.nanos() < kNanosPerSecond;
  return in_range ? TimeUtil::ToString(time) : std::string();
}

}  // namespace ballast::render
