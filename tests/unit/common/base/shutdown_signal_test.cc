#include "common/base/shutdown_signal.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::base {
namespace {

using namespace std::chrono_literals;
using ::testing::Optional;

// Gives the test's thread its signal mask back.
class ShutdownSignalTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &before_), 0); }
  void TearDown() override { ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before_, nullptr), 0); }
  sigset_t before_{};
};

TEST_F(ShutdownSignalTest, DeliversInterruptAndTermination) {
  const auto signal = ShutdownSignal::Create();
  ASSERT_TRUE(signal.ok()) << signal.status();
  EXPECT_EQ(signal->Wait(0ms), std::nullopt);
  EXPECT_EQ(signal->Wait(1ms), std::nullopt);
  for (const int number : {SIGINT, SIGTERM}) {
    ASSERT_EQ(::raise(number), 0);
    pollfd poll_fd{signal->fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&poll_fd, 1, 0), 1);
    EXPECT_THAT(signal->Wait(30s), Optional(number));
    EXPECT_EQ(signal->Wait(0ms), std::nullopt) << "each once";
  }
}

TEST_F(ShutdownSignalTest, WaitsForEverAndForTheLongestTime) {
  const auto signal = ShutdownSignal::Create();
  ASSERT_TRUE(signal.ok());
  ASSERT_EQ(::raise(SIGTERM), 0);
  EXPECT_THAT(signal->Wait(), Optional(SIGTERM));
  ASSERT_EQ(::raise(SIGTERM), 0);
  EXPECT_THAT(signal->Wait(std::chrono::milliseconds::max()), Optional(SIGTERM));
}

}  // namespace
}  // namespace ballast::base
