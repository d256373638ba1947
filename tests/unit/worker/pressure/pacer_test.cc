#include "worker/pressure/pacer.h"

#include <gtest/gtest.h>

#include <thread>

namespace ballast::pressure {
namespace {

using std::chrono::milliseconds;

TEST(MachinePacerTest, WaitsUntilTheDeadline) {
  MachinePacer pacer;
  const auto deadline = pacer.Now() + milliseconds(20);
  EXPECT_TRUE(pacer.WaitUntil(deadline, {}));
  EXPECT_GE(pacer.Now(), deadline);
  EXPECT_TRUE(pacer.WaitUntil(deadline, {})) << "a deadline that has passed";
}

TEST(MachinePacerTest, AStopEndsTheWait) {
  MachinePacer pacer;
  std::stop_source stop;
  const auto begun = pacer.Now();
  std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_FALSE(pacer.WaitUntil(begun + std::chrono::minutes(10), stop.get_token()));
  EXPECT_FALSE(pacer.WaitUntil(begun, stop.get_token()));
  EXPECT_LT(pacer.Now() - begun, std::chrono::minutes(1));
}

}  // namespace
}  // namespace ballast::pressure
