// Reads every metric of the device and of the runner at one instant.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/metrics/metric_table.h"
#include "common/os/cgroup.h"

namespace ballast::telemetry {

// Samples /proc/meminfo, vmstat, pressure, loadavg, stat, zram devices, the runner's /proc/PID files and its memory
// cgroup. Descriptors stay open; Sample() does not allocate and does not fail: what cannot be read is absent. What only
// the executor knows (runner_held_bytes, runner_target_percent, sample_delay_us) is left absent for it to fill in. Not
// thread-safe.
class Sampler {
 public:
  // `root` is where /proc and /sys are found; tests lay out a tree of their own. NOT_FOUND when /proc/meminfo is
  // missing.
  // The cgroup is that of this process.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Sampler>> Open(const std::string& root = "/");
  // The cgroup is that in which the runner stands, or will stand.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Sampler>> Open(const std::string& root,
                                                                     const os::CgroupLocation& runner);
  virtual ~Sampler() = default;
  Sampler() = default;
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // From now on samples hold the process's figures too. A process that has ended leaves them absent.
  virtual void WatchProcess(pid_t pid) = 0;
  virtual void ForgetProcess() = 0;
  // The same for the processes that load a model: their figures are added up. None ends it.
  virtual void WatchLoad(const std::vector<pid_t>& processes) = 0;
  // And for the memory cgroup that these processes have for themselves; null ends it.
  virtual void WatchLoadCgroup(const os::CgroupLocation* cgroup) = 0;

  // From now on as much of the watched process's resident file pages, at most, counts as in use in mem_used_percent, as
  // its targets do (os::CountHeldFileBytes); 0 for none.
  virtual void CountFilePages(std::uint64_t held_bytes) = 0;

  // Fills every entry of `row` (metrics::kAbsent where there is no value).
  virtual void Sample(metrics::SampleRow* row) = 0;
};

}  // namespace ballast::telemetry
