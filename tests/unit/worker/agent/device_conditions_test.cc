#include "worker/agent/device_conditions.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/clock.h"
#include "tests/unit/common/os/fake_tree.h"

namespace ballast::agent {
namespace {

using testing::ElementsAre;

std::string StatLine(int pid, const std::string& name, int user_ticks, int system_ticks) {
  return std::to_string(pid) + " (" + name + ") S 2 0 0 0 -1 2129984 0 0 0 0 " + std::to_string(user_ticks) + " " +
         std::to_string(system_ticks) +
         " 0 0 20 0 1 0 30 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0\n";
}

TEST(DeviceConditionsTest, ReadsWhatTheDeviceHas) {
  const os::FakeTree tree;
  tree.Write("proc/40/comm", "kswapd0\n");
  tree.Write("proc/40/stat", StatLine(40, "kswapd0", 0, 100));
  tree.Write("proc/41/comm", "kcompactd0\n");
  tree.Write("proc/41/stat", StatLine(41, "kcompactd0", 0, 50));
  tree.Write("proc/300/comm", "earlyoom\n");
  tree.Write("proc/300/stat", StatLine(300, "earlyoom", 900, 900));
  tree.Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
  tree.Write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "2\n");
  DeviceConditions conditions(tree.root());
  EXPECT_THAT(conditions.oom_daemons(), ElementsAre("earlyoom"));
  EXPECT_EQ(conditions.governor(), "powersave");
  const ConditionsReading before = conditions.Read();
  EXPECT_EQ(before.throttle_count, 2U);
  EXPECT_EQ(before.reclaim_cpu, std::chrono::milliseconds(150 * 1000 / ::sysconf(_SC_CLK_TCK)));
  tree.Write("proc/40/stat", StatLine(40, "kswapd0", 0, 200));
  EXPECT_GT(conditions.Read().reclaim_cpu, before.reclaim_cpu);
}

TEST(DeviceConditionsTest, ClocksAndChildrenOfThisMachine) {
  DeviceConditions conditions;
  const ConditionsReading before = conditions.Read();
  EXPECT_GE(before.boottime, before.monotonic);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    timespec used{};
    do {
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    } while (used.tv_sec == 0 && used.tv_nsec < 30'000'000);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const ConditionsReading after = conditions.Read();
  EXPECT_GE(after.children_cpu - before.children_cpu, std::chrono::milliseconds(29));
  const auto monotonic = after.monotonic - before.monotonic;
  EXPECT_LT(std::chrono::abs(after.boottime - before.boottime - monotonic), std::chrono::milliseconds(20));
  EXPECT_GE(after.agent_cpu, before.agent_cpu);
}

}  // namespace
}  // namespace ballast::agent
