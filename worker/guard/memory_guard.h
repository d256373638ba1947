// The guard of a device: watches it while a load holds memory, and ends the load before the device becomes unusable.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/os/cgroup.h"
#include "worker/guard/guard_watch.h"
#include "worker/guard/psi_trigger.h"

namespace ballast::guard {

struct GuardOptions {
  Thresholds thresholds;
  // Where /proc and /sys are found.
  std::string root = "/";
  // Where the load stands, or will stand; where this process stands, if it is absent.
  std::optional<os::CgroupLocation> place = std::nullopt;
  const base::Clock* clock = &base::RealClock();
};

// Watches on a thread of its own, of higher priority where that is allowed, and acts on the load from there: nothing
// else in the process has to run for it. Wakes on the kernel's triggers for stalls where they are granted, and looks by
// itself anyway, every 20 to 200 ms. Does not allocate while it watches. The methods are for one thread.
class MemoryGuard {
 public:
  // Opens all that is read. `load` and `listener` outlive the guard. Codes of os::MemoryGauge::Open, and of
  // base::ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MemoryGuard>> Open(const GuardOptions& options, GuardedLoad* load,
                                                                         GuardListener* listener);
  // As Stop().
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

  // Begins to watch. Once.
  void Start();
  // Watches no longer: no call to the load or the listener is under way or comes after it. Repeatable.
  void Stop();

  // How it learns of stalls, in words: which triggers were granted, or why none.
  [[nodiscard]] const std::string& means() const { return means_; }
  // Processor time that the watching took, up to its end. Valid after Stop().
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const { return cpu_time_; }

 private:
  MemoryGuard() = default;

  void SetTrigger(const std::string& path, double full_percent);
  void Run();
  // Waits until `due`, a trigger or Stop().
  void Wait(std::chrono::nanoseconds due);
  void TellOfTrigger(const PsiTrigger& trigger);

  const base::Clock* clock_ = nullptr;
  GuardListener* listener_ = nullptr;
  std::unique_ptr<GuardWatch> watch_;
  std::vector<PsiTrigger> triggers_;
  std::string means_;
  base::Fd wake_;  // an eventfd: Stop() was called
  std::atomic<bool> stopping_ = false;
  std::optional<std::chrono::nanoseconds> trigger_told_;
  std::chrono::nanoseconds cpu_time_{0};
  std::thread thread_;
};

// Why triggers for stalls are not granted to this process, in one sentence; empty where they are, and where the kernel
// tells of no stalls at all. Leaves nothing behind.
[[nodiscard]] std::string WhyNoTriggers(const std::string& root = "/");

}  // namespace ballast::guard
