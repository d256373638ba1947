// Time, behind a seam so that tests can hold it still, and conversions to and from the protobuf types.
#pragma once

#include <chrono>

#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::base {

using SystemTime = std::chrono::sys_time<std::chrono::nanoseconds>;

// Reads time. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time; may jump.
  [[nodiscard]] virtual SystemTime Now() const = 0;
  // Time since some fixed instant (CLOCK_MONOTONIC); never goes back.
  [[nodiscard]] virtual std::chrono::nanoseconds Monotonic() const = 0;
};

// The machine's clock. Lives as long as the program.
[[nodiscard]] const Clock& RealClock();

// A duration message for any chrono duration.
[[nodiscard]] google::protobuf::Duration ToProto(std::chrono::nanoseconds duration);
[[nodiscard]] google::protobuf::Timestamp ToProto(SystemTime time);
// Back again; what lies beyond 292 years becomes the nearest that does not.
[[nodiscard]] std::chrono::nanoseconds FromProto(const google::protobuf::Duration& duration);
[[nodiscard]] SystemTime FromProto(const google::protobuf::Timestamp& time);

// A duration as a floating-point number of seconds.
[[nodiscard]] double ToSeconds(std::chrono::nanoseconds duration);

}  // namespace ballast::base
