#include "common/base/clock.h"

#include <cstdint>
#include <ctime>

namespace ballast::base {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

class MachineClock final : public Clock {
 public:
  SystemTime Now() const override {
    return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  }
  std::chrono::nanoseconds Monotonic() const override {
    timespec ts{};
    ::clock_gettime(CLOCK_MONOTONIC, &ts);
    return std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec);
  }
};

// Messages come from outside and may hold what 64 bits of nanoseconds do not: that becomes the nearest that they do.
std::chrono::nanoseconds Nanoseconds(std::int64_t seconds, std::int32_t nanos) {
  std::int64_t total = 0;
  if (__builtin_mul_overflow(seconds, kNanosPerSecond, &total) || __builtin_add_overflow(total, nanos, &total)) {
    return seconds < 0 ? std::chrono::nanoseconds::min() : std::chrono::nanoseconds::max();
  }
  return std::chrono::nanoseconds(total);
}

}  // namespace

const Clock& RealClock() {
  // Never destroyed: threads of a program that ends may still read it.
  static const MachineClock& clock = *new MachineClock();
  return clock;
}

google::protobuf::Duration ToProto(std::chrono::nanoseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / kNanosPerSecond);
  proto.set_nanos(static_cast<std::int32_t>(duration.count() % kNanosPerSecond));
  return proto;
}

google::protobuf::Timestamp ToProto(SystemTime time) {
  std::int64_t nanos = time.time_since_epoch().count();
  std::int64_t seconds = nanos / kNanosPerSecond;
  nanos %= kNanosPerSecond;
  if (nanos < 0) {  // Timestamps count their nanoseconds forward, also before 1970.
    nanos += kNanosPerSecond;
    --seconds;
  }
  google::protobuf::Timestamp proto;
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<std::int32_t>(nanos));
  return proto;
}

std::chrono::nanoseconds FromProto(const google::protobuf::Duration& duration) {
  return Nanoseconds(duration.seconds(), duration.nanos());
}

SystemTime FromProto(const google::protobuf::Timestamp& time) {
  return SystemTime(Nanoseconds(time.seconds(), time.nanos()));
}

double ToSeconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace ballast::base
