#include "worker/guard/thresholds.h"

#include <algorithm>

#include "common/base/clock.h"

namespace ballast::guard {
namespace {

constexpr double kMostDerivedPercent = 2.5;
constexpr double kClearMarginPercent = 1;
constexpr double kStallingShare = 0.25;  // of the threshold for stalls
// A stall that is held moves around its target.
constexpr double kAskedStallMargin = 1.5;
// Above that nothing could be told from a device that stands still.
constexpr double kMostStallPercent = 95;

}  // namespace

Thresholds ThresholdsOf(const v1::GuardSpec& spec, double floor_percent, double asked_stall_percent) {
  Thresholds thresholds;
  thresholds.min_available_percent = spec.min_available_percent() > 0
                                         ? spec.min_available_percent()
                                         : std::min(floor_percent / 2, kMostDerivedPercent);
  // Also clear of the load's own floor: it would be at it again as soon as it may grow.
  thresholds.clear_available_percent =
      std::max(floor_percent, 2 * thresholds.min_available_percent) + kClearMarginPercent;
  thresholds.free_swap_counts = asked_stall_percent > 0;
  thresholds.max_psi_full_percent = std::min(kMostStallPercent, spec.max_psi_full_percent() + asked_stall_percent);
  thresholds.stalling_percent =
      std::max(kStallingShare * spec.max_psi_full_percent(), kAskedStallMargin * asked_stall_percent);
  thresholds.max_swap_in_bytes_per_second = static_cast<double>(spec.max_swap_in_bytes_per_second());
  thresholds.max_refault_bytes_per_second = static_cast<double>(spec.max_refault_bytes_per_second());
  thresholds.max_delay = base::FromProto(spec.max_agent_delay());
  thresholds.patience = base::FromProto(spec.patience());
  return thresholds;
}

}  // namespace ballast::guard
