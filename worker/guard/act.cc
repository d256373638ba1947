#include "worker/guard/act.h"

#include <fmt/format.h>

#include "common/base/units.h"

namespace ballast::guard {
namespace {

std::string Bytes(double bytes) {
  return base::FormatBytes(bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0);
}

std::string Milliseconds(double milliseconds) {
  return base::FormatDuration(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double, std::milli>(milliseconds)));
}

}  // namespace

std::string DescribeReading(const Act& act) {
  const double percent_of_limit = act.limit_bytes == 0 ? 0 : 100.0 / static_cast<double>(act.limit_bytes);
  switch (act.signal) {
    case v1::GuardAct::AVAILABLE_MEMORY:
      return fmt::format("{} available ({:.1f} % of the limit), the guard's minimum is {} ({:.1f} %)", Bytes(act.value),
                         act.value * percent_of_limit, Bytes(act.threshold), act.threshold * percent_of_limit);
    case v1::GuardAct::PSI_FULL:
      return fmt::format("every task stalled on memory for {:.0f} % of the time, the guard's maximum is {:g} %",
                         act.value, act.threshold);
    case v1::GuardAct::SWAP_IN_RATE:
      return fmt::format("{} a second swapped in while tasks stalled, the guard's maximum is {}", Bytes(act.value),
                         Bytes(act.threshold));
    case v1::GuardAct::REFAULT_RATE:
      return fmt::format(
          "{} a second of pages came back soon after they were dropped while tasks stalled, the guard's maximum is {}",
          Bytes(act.value), Bytes(act.threshold));
    case v1::GuardAct::AGENT_DELAY:
      return fmt::format("the guard's own thread was {} late while tasks stalled, the maximum is {}",
                         Milliseconds(act.value), Milliseconds(act.threshold));
    default:
      return "no reading";
  }
}

std::string DescribeAct(const Act& act) {
  const std::string reading = DescribeReading(act);
  switch (act.action) {
    case v1::GuardAct::WARNED:
      return fmt::format("near a limit: {}", reading);
    case v1::GuardAct::SHRINK_ASKED:
      return fmt::format("asked the load to give back {} of {} and to pause for {}: {}",
                         base::FormatBytes(act.shrink_bytes), base::FormatBytes(act.held_bytes),
                         base::FormatDuration(act.pause), reading);
    case v1::GuardAct::RELEASE_ASKED:
      return fmt::format("asked the load to release all of its {}: {}", base::FormatBytes(act.held_bytes), reading);
    case v1::GuardAct::KILLED:
      return fmt::format("killed the load, which did not release its {} in time: {}", base::FormatBytes(act.held_bytes),
                         reading);
    default:
      return reading;
  }
}

}  // namespace ballast::guard
