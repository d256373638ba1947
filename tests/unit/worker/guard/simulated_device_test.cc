// The policy against devices that exist in numbers only, and answer to what it does.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/guard/guard_policy.h"
#include "worker/guard/rate_window.h"

namespace ballast::guard {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr double kMiB = 1 << 20;

// A device of 2 GB without swap. Programs and libraries are a working set of page cache; what of it has no room any
// more is read again and again from a slow disk, and every task waits for it. There is always some page cache to drop,
// so nothing is ever refused and nothing OOM-killed; and the kernel calls that page cache available.
struct Device {
  double limit = 2000 * kMiB;
  double kernel = 150 * kMiB;
  double working_set = 250 * kMiB;
  double disk_per_second = 60 * kMiB;  // what it can read again

  double held = 0;    // by the load
  double target = 0;  // what the load wants
  double fill_rate = 400 * kMiB;
  nanoseconds paused_until{0};
  bool released = false;

  double full_us = 0;
  double refaulted = 0;
  nanoseconds now = seconds(100);
  nanoseconds delay{0};

  // The share of the working set that has no room.
  [[nodiscard]] double Missing() const {
    const double room = limit - kernel - held;
    return std::clamp((working_set - room) / working_set, 0.0, 1.0);
  }
  [[nodiscard]] double Available() const { return std::max(limit - kernel - held - 0.3 * working_set, 0.04 * limit); }

  void Pass(milliseconds step) {
    const double s = std::chrono::duration<double>(step).count();
    if (released) {
      held = std::max(0.0, held - 2000 * kMiB * s);
    } else if (now >= paused_until && held < target) {
      // Filling waits for the disk as everybody does.
      held = std::min(target, held + fill_rate * s * std::max(0.05, 1 - Missing()));
    }
    const double stall = std::min(1.0, 1.8 * Missing());
    full_us += stall * s * 1e6;
    refaulted += std::min(disk_per_second, Missing() * 4000 * kMiB) * s;
    delay = nanoseconds(static_cast<std::int64_t>(Missing() > 0.6 ? 4e8 : 0));
    now += step;
  }
};

struct Watched {
  std::vector<Act> acts;
  double longest_livelock_s = 0;  // without a break of stalls of more than half of the time

  static Watched Run(Device* device, seconds duration, bool guarded, bool has_psi = true) {
    Watched watched;
    GuardPolicy policy{Thresholds{}};
    RateWindow full;
    RateWindow refault;
    nanoseconds livelock{0};
    for (const nanoseconds end = device->now + duration; device->now < end;) {
      device->Pass(milliseconds(20));
      livelock = device->Missing() > 0.3 ? livelock + milliseconds(20) : nanoseconds(0);
      watched.longest_livelock_s =
          std::max(watched.longest_livelock_s, std::chrono::duration<double>(livelock).count());
      Readings r;
      r.time = device->now;
      r.delay = device->delay;
      r.limit_bytes = static_cast<std::uint64_t>(device->limit);
      r.available_bytes = static_cast<std::uint64_t>(device->Available());
      r.has_psi = has_psi;
      const auto stall = full.Add(device->now, static_cast<std::uint64_t>(device->full_us));
      if (has_psi && stall) r.psi_full_percent = r.psi_some_percent = *stall / 1e4;
      r.refault_bytes_per_second = refault.Add(device->now, static_cast<std::uint64_t>(device->refaulted));
      if (!device->released || device->held > 0) r.held_bytes = static_cast<std::uint64_t>(device->held);
      const auto act = policy.Next(r);
      if (!act || !guarded) continue;
      watched.acts.push_back(*act);
      if (act->action == v1::GuardAct::SHRINK_ASKED) {
        device->held = std::max(0.0, device->held - static_cast<double>(act->shrink_bytes));
        device->paused_until = device->now + act->pause;
      } else if (act->action == v1::GuardAct::RELEASE_ASKED) {
        device->released = true;
      }
    }
    return watched;
  }
  [[nodiscard]] std::ptrdiff_t Count(v1::GuardAct::Action action) const {
    return std::ranges::count(acts, action, &Act::action);
  }
};

TEST(SimulatedDeviceTest, WithoutAGuardALivelockOnRefaultsNeverEnds) {
  Device device;
  device.target = 0.87 * device.limit;
  EXPECT_GT(Watched::Run(&device, seconds(60), false).longest_livelock_s, 50);
  EXPECT_GT(device.Available(), 0.025 * device.limit) << "available memory alone does not tell";
}

TEST(SimulatedDeviceTest, ALivelockOnRefaultsIsEndedWithinSeconds) {
  Device device;
  device.target = 0.87 * device.limit;
  const Watched watched = Watched::Run(&device, seconds(60), true);
  EXPECT_LT(watched.longest_livelock_s, 5);
  EXPECT_EQ(watched.Count(v1::GuardAct::RELEASE_ASKED), 1) << "it came back after the shrink";
  EXPECT_EQ(watched.Count(v1::GuardAct::KILLED), 0);
  EXPECT_LT(device.held, kMiB);
}

TEST(SimulatedDeviceTest, WhereTheKernelTellsOfNoStallsTheRefaultsDo) {
  Device device;
  device.target = 0.87 * device.limit;
  const Watched watched = Watched::Run(&device, seconds(60), true, false);
  EXPECT_LT(watched.longest_livelock_s, 5);
  EXPECT_EQ(watched.Count(v1::GuardAct::RELEASE_ASKED), 1);
  EXPECT_EQ(watched.acts.back().signal, v1::GuardAct::REFAULT_RATE);
}

TEST(SimulatedDeviceTest, ALoadThatLeavesTheWorkingSetItsRoomIsNotTouched) {
  Device device;
  device.target = 0.79 * device.limit;
  const Watched watched = Watched::Run(&device, seconds(300), true);
  EXPECT_TRUE(watched.acts.empty());
  EXPECT_GT(device.held, 0.78 * device.limit);
}

TEST(SimulatedDeviceTest, ALoadOfOneWaveIsMadeSmallerAndGoesOn) {
  Device device;
  device.target = 0.87 * device.limit;
  device.fill_rate = 100 * kMiB;
  GuardPolicy policy{Thresholds{}};
  // It wants more for a moment only: after the shrink it is content with what it has.
  Watched watched = Watched::Run(&device, seconds(21), true);
  ASSERT_EQ(watched.Count(v1::GuardAct::SHRINK_ASKED), 1);
  device.target = device.held;
  watched = Watched::Run(&device, seconds(300), true);
  EXPECT_EQ(watched.Count(v1::GuardAct::SHRINK_ASKED), 0);
  EXPECT_EQ(watched.Count(v1::GuardAct::RELEASE_ASKED), 0);
  EXPECT_GT(device.held, 0);
}

}  // namespace
}  // namespace ballast::guard
