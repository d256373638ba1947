#include "common/os/processor_speed.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

class ProcessorSpeedTest : public testing::Test {
 protected:
  FakeTree tree_;
  std::array<char, kReadBufferBytes> buffer_{};
};

TEST_F(ProcessorSpeedTest, ADeviceThatTellsNothing) {
  ProcessorSpeed speed(tree_.root());
  EXPECT_EQ(speed.governor(), "");
  EXPECT_FALSE(speed.ReadThrottleCount(buffer_).has_value());
  EXPECT_FALSE(speed.ReadTooHot(buffer_).has_value());
  EXPECT_FALSE(speed.ReadFrequencyPercent(buffer_).has_value());
}

TEST_F(ProcessorSpeedTest, AddsUpTheThrottleCounts) {
  tree_.Write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
  tree_.Write("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "1\n");
  tree_.Write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "0\n");
  tree_.Write("sys/devices/system/cpu/cpufreq/thermal_throttle/core_throttle_count", "100\n");
  ProcessorSpeed speed(tree_.root());
  EXPECT_EQ(speed.ReadThrottleCount(buffer_), 4U);
  tree_.Write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "7\n");
  EXPECT_EQ(speed.ReadThrottleCount(buffer_), 11U);
}

TEST_F(ProcessorSpeedTest, AZoneAtItsPassiveTripPointIsTooHot) {
  tree_.Write("sys/class/thermal/thermal_zone0/temp", "95000\n");  // has no passive point
  tree_.Write("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n");
  tree_.Write("sys/class/thermal/thermal_zone0/trip_point_0_temp", "90000\n");
  tree_.Write("sys/class/thermal/thermal_zone1/temp", "79999\n");
  tree_.Write("sys/class/thermal/thermal_zone1/trip_point_0_type", "critical\n");
  tree_.Write("sys/class/thermal/thermal_zone1/trip_point_0_temp", "70000\n");
  tree_.Write("sys/class/thermal/thermal_zone1/trip_point_1_type", "passive\n");
  tree_.Write("sys/class/thermal/thermal_zone1/trip_point_1_temp", "80000\n");
  ProcessorSpeed speed(tree_.root());
  EXPECT_EQ(speed.ReadTooHot(buffer_), false);
  tree_.Write("sys/class/thermal/thermal_zone1/temp", "80000\n");
  EXPECT_EQ(speed.ReadTooHot(buffer_), true);
}

TEST_F(ProcessorSpeedTest, GovernorAndFrequenciesInTurns) {
  for (const char* const cpu : {"cpu0", "cpu1"}) {
    const std::string directory = std::string("sys/devices/system/cpu/") + cpu + "/cpufreq/";
    tree_.Write(directory + "scaling_governor", cpu == std::string("cpu0") ? "performance\n" : "schedutil\n");
    tree_.Write(directory + "cpuinfo_max_freq", "2000000\n");
    tree_.Write(directory + "scaling_cur_freq", cpu == std::string("cpu0") ? "2000000\n" : "500000\n");
  }
  ProcessorSpeed speed(tree_.root());
  EXPECT_EQ(speed.governor(), "schedutil");
  EXPECT_EQ(speed.ReadFrequencyPercent(buffer_), 100);
  EXPECT_EQ(speed.ReadFrequencyPercent(buffer_), 25);
  EXPECT_EQ(speed.ReadFrequencyPercent(buffer_), 100);
}

}  // namespace
}  // namespace ballast::os
