#include "worker/agent/device_conditions.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/os/processes.h"
#include "common/os/procfs.h"
#include "worker/environment/oom_daemons.h"

namespace ballast::agent {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kOneInstant = std::chrono::milliseconds(5);
constexpr int kMaxTries = 5;

nanoseconds ReadClock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

nanoseconds ToDuration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

DeviceConditions::DeviceConditions(const std::string& root)
    : oom_daemons_(environment::FindOomDaemons(root)), speed_(root) {
  os::VisitProcesses(root, [&](pid_t pid, const std::string& name) {
    if (!name.starts_with("kswapd") && !name.starts_with("kcompactd")) return;
    os::FileReader reader = os::FileReader::OpenOptional(fmt::format("{}/proc/{}/stat", root, pid));
    if (reader.valid()) reclaim_threads_.push_back(std::move(reader));
  });
}

ConditionsReading DeviceConditions::Read() {
  ConditionsReading reading;
  // A thread that loses the processor between two clocks would see a jump.
  for (int i = 0; i < kMaxTries; ++i) {
    reading.monotonic = ReadClock(CLOCK_MONOTONIC);
    reading.realtime = ReadClock(CLOCK_REALTIME);
    reading.boottime = ReadClock(CLOCK_BOOTTIME);
    if (ReadClock(CLOCK_MONOTONIC) - reading.monotonic < kOneInstant) break;
  }
  reading.agent_cpu = ReadClock(CLOCK_PROCESS_CPUTIME_ID);
  rusage children{};
  ::getrusage(RUSAGE_CHILDREN, &children);
  reading.children_cpu = ToDuration(children.ru_utime) + ToDuration(children.ru_stime);
  static const std::int64_t ticks_per_second = ::sysconf(_SC_CLK_TCK);
  for (os::FileReader& thread : reclaim_threads_) {
    const auto text = thread.Read(buffer_);
    const auto stat = text ? os::ParseProcessStat(*text) : std::nullopt;
    if (!stat) continue;
    reading.reclaim_cpu += std::chrono::milliseconds(static_cast<std::int64_t>(stat->user_ticks + stat->system_ticks) *
                                                     1000 / ticks_per_second);
  }
  reading.throttle_count = speed_.ReadThrottleCount(buffer_);
  reading.too_hot = speed_.ReadTooHot(buffer_);
  reading.frequency_percent = speed_.ReadFrequencyPercent(buffer_);
  return reading;
}

}  // namespace ballast::agent
