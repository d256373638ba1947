#include "cli/interrupts.h"

#include <sys/eventfd.h>

#include <csignal>
#include <future>

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;

TEST(InterruptsTest, PendingUntilAcknowledged) {
  Interrupts interrupts(nullptr);
  const base::Fd never(::eventfd(0, EFD_CLOEXEC));
  EXPECT_FALSE(interrupts.pending());
  EXPECT_FALSE(interrupts.WaitFor(milliseconds(0)));
  EXPECT_FALSE(interrupts.WaitReadable(never.get(), milliseconds(0)));
  interrupts.Raise();
  EXPECT_TRUE(interrupts.pending());
  EXPECT_TRUE(interrupts.WaitFor(milliseconds(60'000)));
  EXPECT_FALSE(interrupts.WaitReadable(never.get(), milliseconds(60'000)));
  interrupts.Acknowledge();
  EXPECT_FALSE(interrupts.pending());
  EXPECT_FALSE(interrupts.WaitFor(milliseconds(0)));
  const base::Fd ready(::eventfd(1, EFD_CLOEXEC));
  EXPECT_TRUE(interrupts.WaitReadable(ready.get(), milliseconds(60'000)));
}

TEST(InterruptsTest, HandlersRunWhileTheirScopeLives) {
  Interrupts interrupts(nullptr);
  int calls = 0;
  {
    const Interrupts::Scope scope(interrupts, [&calls] { ++calls; });
    interrupts.Raise();
    interrupts.Raise();
    EXPECT_EQ(calls, 2);
  }
  interrupts.Raise();
  EXPECT_EQ(calls, 2);
  const Interrupts::Scope late(interrupts, [&calls] { ++calls; });
  EXPECT_EQ(calls, 3) << "one is pending: the handler runs at once";
}

TEST(InterruptsTest, AnInterruptEndsAWait) {
  Interrupts interrupts(nullptr);
  auto waiting = std::async(std::launch::async, [&] { return interrupts.WaitFor(milliseconds(60'000)); });
  interrupts.Raise();
  EXPECT_TRUE(waiting.get());
}

}  // namespace
}  // namespace ballast::cli
