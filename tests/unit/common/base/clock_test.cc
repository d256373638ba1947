#include "common/base/clock.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace ballast::base {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

google::protobuf::Duration MakeDuration(std::int64_t seconds, std::int32_t nanos) {
  google::protobuf::Duration duration;
  duration.set_seconds(seconds);
  duration.set_nanos(nanos);
  return duration;
}

TEST(ClockTest, DurationsGoThereAndBack) {
  for (const nanoseconds duration : {0ns, 1ns, 999'999'999ns, nanoseconds(1s), nanoseconds(90min + 1ns), -1ns,
                                     nanoseconds(-5s - 7ns), nanoseconds::max(), nanoseconds::min()}) {
    const google::protobuf::Duration proto = ToProto(duration);
    EXPECT_EQ(FromProto(proto), duration);
    EXPECT_GE(proto.seconds() < 0 ? -proto.nanos() : proto.nanos(), proto.seconds() == 0 ? -999'999'999 : 0)
        << "one sign";
  }
  EXPECT_EQ(ToProto(1500ms).seconds(), 1);
  EXPECT_EQ(ToProto(1500ms).nanos(), 500'000'000);
}

TEST(ClockTest, TimestampsGoThereAndBackAlsoBefore1970) {
  for (const nanoseconds since_epoch :
       {0ns, 1ns, nanoseconds(1'700'000'000s + 5ns), -1ns, nanoseconds(-1s), nanoseconds(-1500ms)}) {
    const google::protobuf::Timestamp proto = ToProto(SystemTime(since_epoch));
    EXPECT_EQ(FromProto(proto), SystemTime(since_epoch));
    EXPECT_GE(proto.nanos(), 0);
    EXPECT_LT(proto.nanos(), 1'000'000'000);
  }
}

TEST(ClockTest, WhatDoesNotFitBecomesTheNearest) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(FromProto(MakeDuration(kMost, 0)), nanoseconds::max());
  EXPECT_EQ(FromProto(MakeDuration(9'223'372'036, 999'999'999)), nanoseconds::max());
  EXPECT_EQ(FromProto(MakeDuration(-kMost, 0)), nanoseconds::min());
  google::protobuf::Timestamp far;
  far.set_seconds(253'402'300'799);  // the year 9999, which protobuf allows
  EXPECT_EQ(FromProto(far), SystemTime(nanoseconds::max()));
}

TEST(ClockTest, RealClockMovesForward) {
  const Clock& clock = RealClock();
  const nanoseconds before = clock.Monotonic();
  EXPECT_GT(before, 0ns);
  EXPECT_GE(clock.Monotonic(), before);
  EXPECT_GT(clock.Now(), SystemTime(nanoseconds(1'600'000'000s)));
}

TEST(ClockTest, ToSecondsKeepsFractions) {
  EXPECT_DOUBLE_EQ(ToSeconds(1500ms), 1.5);
}

}  // namespace
}  // namespace ballast::base
