#include "worker/agent/self_protection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

std::uint64_t ResidentFileBytes() {
  return os::ParseProcessStatus(base::ReadFile("/proc/self/status").value()).resident_file.value();
}

int NiceOfThisThread() {
  return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
}

TEST(SelfProtectionTest, LetsGoOfWhatTheStartAloneNeeded) {
  const std::uint64_t before = ResidentFileBytes();
  EXPECT_FALSE(LockMemory({})) << "not where it may not";
  EXPECT_LT(ResidentFileBytes(), before);
}

TEST(SelfProtectionTest, PriorityIsRaisedForAWhileOrNotAtAll) {
  const int before = NiceOfThisThread();
  {
    const ScopedPriority priority;
    EXPECT_LE(NiceOfThisThread(), before);
  }
  EXPECT_EQ(NiceOfThisThread(), before);
}

}  // namespace
}  // namespace ballast::agent
