// Numbers and times as text for files: exact, locale-free, the same on every machine.
#pragma once

#include <string>

#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::render {

// The shortest decimal text that reads back to exactly the same value; whole numbers below 2^53 without an exponent; -0
// as `0`. Empty for NaN and infinities.
[[nodiscard]] std::string NumberText(double value);

// A duration in seconds, exact to the nanosecond: `1.5`. Empty where the message is none that protobuf allows.
[[nodiscard]] std::string SecondsText(const google::protobuf::Duration& duration);

// RFC 3339 in UTC with 0, 3, 6 or 9 decimals: `2026-01-02T03:04:05.678Z`. Empty where the message is none that protobuf
// allows.
[[nodiscard]] std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace ballast::render
