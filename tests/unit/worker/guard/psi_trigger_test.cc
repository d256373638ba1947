#include "worker/guard/psi_trigger.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/os/procfs.h"
#include "tests/unit/common/os/fake_tree.h"

namespace ballast::guard {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(PsiTriggerTest, TheTextIsTheKernels) {
  EXPECT_EQ(TriggerText(milliseconds(150), seconds(1)), "full 150000 1000000");
  EXPECT_EQ(TriggerText(microseconds(0), seconds(2)), "full 1 2000000");
  EXPECT_EQ(TriggerText(seconds(3), seconds(2)), "full 2000000 2000000");
}

TEST(PsiTriggerTest, AsksForAShareOfTheWindow) {
  const os::FakeTree tree;
  tree.Write("memory.pressure", "");
  const auto trigger = PsiTrigger::Open(tree.root() + "/memory.pressure", 15);
  ASSERT_TRUE(trigger.ok()) << trigger.status();
  EXPECT_EQ(trigger->window(), seconds(1));
  EXPECT_EQ(trigger->stall(), milliseconds(150));
  EXPECT_EQ(base::ReadFile(tree.root() + "/memory.pressure").value(), std::string("full 150000 1000000\0", 20));
}

TEST(PsiTriggerTest, AMissingFileIsSaid) {
  const auto trigger = PsiTrigger::Open("/nowhere/memory.pressure", 15);
  ASSERT_FALSE(trigger.ok());
  EXPECT_NE(trigger.status().message().find("/nowhere/memory.pressure"), std::string::npos);
}

TEST(PsiTriggerTest, TheKernelGrantsOneOfTheWindows) {
  const auto content = base::ReadFile("/proc/pressure/memory");
  if (!content.ok() || !os::ParsePressure(*content).full) GTEST_SKIP() << "the kernel tells of no stalls";
  const auto trigger = PsiTrigger::Open("/proc/pressure/memory", 10);
  if (!trigger.ok()) GTEST_SKIP() << trigger.status();
  EXPECT_TRUE(trigger->window() == seconds(1) || trigger->window() == seconds(2));
  EXPECT_EQ(trigger->stall() * 10, trigger->window());
  // Poll finds it in order, whether it has fired or not.
  pollfd entry{.fd = trigger->fd(), .events = POLLPRI, .revents = 0};
  ASSERT_GE(::poll(&entry, 1, 0), 0);
  EXPECT_EQ(entry.revents & (POLLERR | POLLNVAL), 0);
}

}  // namespace
}  // namespace ballast::guard
