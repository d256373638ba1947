#include "coordinator/rpc/stall_watch.h"

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience(30);

TEST(StallWatchTest, EndsWhatDoesNotMoveOnce) {
  StallWatch watch(milliseconds(20));
  std::promise<void> ended;
  std::atomic<int> count{0};
  const StallWatch::Call call = watch.Watch([&] {
    if (++count == 1) ended.set_value();
  });
  ASSERT_EQ(ended.get_future().wait_for(kPatience), std::future_status::ready);
  // Another is ended after it: the watch has looked at the first again by then.
  std::promise<void> other_ended;
  const StallWatch::Call other = watch.Watch([&] { other_ended.set_value(); });
  ASSERT_EQ(other_ended.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(count, 1);
  EXPECT_TRUE(call.ended());
}

TEST(StallWatchTest, WhatMovesGoesOnBesideWhatDoesNot) {
  StallWatch watch(milliseconds(1500));
  std::atomic<bool> moving_ended{false};
  StallWatch::Call moving = watch.Watch([&] { moving_ended = true; });
  std::promise<void> ended;
  std::future<void> still = ended.get_future();
  const StallWatch::Call standing = watch.Watch([&] { ended.set_value(); });
  while (still.wait_for(milliseconds(50)) != std::future_status::ready) moving.Moved();
  EXPECT_TRUE(standing.ended());
  EXPECT_FALSE(moving.ended());
  EXPECT_FALSE(moving_ended);
}

TEST(StallWatchTest, WhatIsOverIsNotEnded) {
  std::atomic<bool> over_ended{false};
  StallWatch watch(milliseconds(20));
  {
    const StallWatch::Call over = watch.Watch([&] { over_ended = true; });
  }
  std::promise<void> ended;
  const StallWatch::Call next = watch.Watch([&] { ended.set_value(); });
  ASSERT_EQ(ended.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(over_ended);
}

}  // namespace
}  // namespace ballast::coordinator
