#include "coordinator/rpc/reading_gate.h"

#include <chrono>
#include <future>
#include <thread>

#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

TEST(ReadingGateTest, ClosingWaitsForWhoIsInAndLetsNobodyElseIn) {
  ReadingGate gate;
  ASSERT_TRUE(gate.Enter());
  std::future<void> closed = std::async(std::launch::async, [&] { gate.Close(); });
  while (gate.Enter()) {  // until it is closing
    gate.Leave();
    std::this_thread::yield();
  }
  EXPECT_EQ(closed.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  gate.Leave();
  closed.get();
  EXPECT_FALSE(gate.Enter());
  gate.Close();
}

}  // namespace
}  // namespace ballast::coordinator
