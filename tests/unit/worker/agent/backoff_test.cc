#include "worker/agent/backoff.h"

#include <gtest/gtest.h>

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;

TEST(BackoffTest, BeginsAtOnceAndDoublesUpToTheLongest) {
  Backoff backoff(milliseconds(1000), 1);
  EXPECT_EQ(backoff.Next(), milliseconds(0));
  for (const int step : {100, 200, 400, 800, 1000, 1000}) {
    const milliseconds wait = backoff.Next();
    EXPECT_GE(wait, milliseconds(step / 2));
    EXPECT_LE(wait, milliseconds(step));
  }
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), milliseconds(0));
}

TEST(BackoffTest, StaysAtTheLongestForEver) {
  Backoff backoff(milliseconds(30'000), 1);
  for (int i = 0; i < 100; ++i) EXPECT_LE(backoff.Next(), milliseconds(30'000));
  EXPECT_GE(backoff.Next(), milliseconds(15'000));
}

TEST(BackoffTest, ARefusalWaitsLongAtOnce) {
  Backoff backoff(milliseconds(30'000), 1);
  EXPECT_GE(backoff.NextAfterRefusal(), milliseconds(15'000));
}

TEST(BackoffTest, AFleetDoesNotComeBackAllAtOnce) {
  Backoff first(milliseconds(30'000), 1);
  Backoff second(milliseconds(30'000), 2);
  EXPECT_NE(first.NextAfterRefusal(), second.NextAfterRefusal());
}

}  // namespace
}  // namespace ballast::agent
