#include "worker/agent/observer_meter.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/os/procfs.h"

namespace ballast::agent {
namespace {

// Of rusage, whatever the disk has.
constexpr std::uint64_t kBlockBytes = 512;

}  // namespace

ObserverMeter::ObserverMeter(std::string root)
    : process_((root.ends_with('/') ? std::move(root) : root + "/") + "proc/self/"), start_(Read()) {}

ObserverMeter::Usage ObserverMeter::Read() const {
  Usage usage;
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  usage.cpu_time = std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  rusage self{};
  ::getrusage(RUSAGE_SELF, &self);
  usage.minor_faults = static_cast<std::uint64_t>(self.ru_minflt);
  usage.major_faults = static_cast<std::uint64_t>(self.ru_majflt);
  // Not from /proc/self/io: that has the bytes of the children that were reaped in it, and so the load's.
  usage.written_bytes = static_cast<std::uint64_t>(self.ru_oublock) * kBlockBytes;
  return usage;
}

v1::ObserverCost ObserverMeter::Cost() const {
  const Usage now = Read();
  v1::ObserverCost cost;
  *cost.mutable_cpu_time() = base::ToProto(now.cpu_time - start_.cpu_time);
  cost.set_minor_faults(now.minor_faults - start_.minor_faults);
  cost.set_major_faults(now.major_faults - start_.major_faults);
  cost.set_written_bytes(now.written_bytes - std::min(start_.written_bytes, now.written_bytes));
  if (const absl::StatusOr<std::string> rollup = base::ReadFile(process_ + "smaps_rollup", 4096); rollup.ok()) {
    cost.set_pss_bytes(1024 * os::FindKeyedNumber(*rollup, "Pss:").value_or(0));
  }
  return cost;
}

}  // namespace ballast::agent
