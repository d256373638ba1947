#include "worker/agent/self_protection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <thread>

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

[[gnu::noinline]] void UseStack() {
  std::array<volatile char, 64U << 10U> frame;
  for (std::size_t i = 0; i < frame.size(); i += 4096) frame[i] = 1;
}

TEST(SelfProtectionTest, AStackThatWasTouchedCausesNoMoreFaults) {
  // On a thread of its own: its stack is new.
  std::thread([] {
    const auto faults = [] {
      rusage usage{};
      ::getrusage(RUSAGE_THREAD, &usage);
      return usage.ru_minflt;
    };
    (void)faults();
    PrefaultStack();
    const auto before = faults();
    UseStack();
    EXPECT_EQ(faults(), before);
  }).join();
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
