#include "worker/pressure/engine_requests.h"

#include <gtest/gtest.h>

#include <limits>

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;

TEST(EngineRequestsTest, InterruptsUntilTaken) {
  EngineRequests requests;
  const std::stop_token interruption = requests.Interruption();
  EXPECT_FALSE(interruption.stop_requested());
  EXPECT_FALSE(requests.Take().has_value());
  requests.Post({.bytes = 5, .pause = milliseconds(7)});
  EXPECT_TRUE(interruption.stop_requested());
  EXPECT_TRUE(requests.Interruption().stop_requested());
  const auto taken = requests.Take();
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->bytes, 5U);
  EXPECT_EQ(taken->pause, milliseconds(7));
  EXPECT_FALSE(requests.Interruption().stop_requested());
  EXPECT_FALSE(requests.Take().has_value());
}

TEST(EngineRequestsTest, RequestsThatWaitAreAddedUp) {
  EngineRequests requests;
  requests.Post({.bytes = 5, .pause = milliseconds(7)});
  requests.Post({.bytes = std::numeric_limits<std::uint64_t>::max() - 1, .pause = milliseconds(3)});
  const auto taken = requests.Take();
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->bytes, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(taken->pause, milliseconds(7));
}

TEST(EngineRequestsTest, TheEndOfAHoldInterruptsOnce) {
  EngineRequests requests;
  EXPECT_FALSE(requests.hold_ended());
  requests.EndHold();
  EXPECT_TRUE(requests.hold_ended());
  EXPECT_TRUE(requests.Interruption().stop_requested());
  EXPECT_FALSE(requests.Take().has_value());
  EXPECT_FALSE(requests.Interruption().stop_requested());
  EXPECT_TRUE(requests.hold_ended());
}

TEST(EngineRequestsTest, AnInterruptionForGoodOutlivesRequests) {
  EngineRequests requests;
  requests.Interrupt();
  EXPECT_FALSE(requests.Take().has_value());
  requests.Post({.bytes = 5, .pause = milliseconds(0)});
  EXPECT_TRUE(requests.Take().has_value());
  EXPECT_TRUE(requests.Interruption().stop_requested());
}

}  // namespace
}  // namespace ballast::pressure
