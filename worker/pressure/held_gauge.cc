#include "worker/pressure/held_gauge.h"

#include <algorithm>

#include "common/base/status.h"

namespace ballast::pressure {
namespace {

// `bytes` of room, after `more` was taken from it (or, where that is negative, given back).
std::uint64_t Less(std::uint64_t bytes, std::int64_t more) {
  const std::int64_t left = static_cast<std::int64_t>(bytes) - more;
  return left > 0 ? static_cast<std::uint64_t>(left) : 0;
}

}  // namespace

absl::Status HeldGauge::Freeze() {
  BALLAST_ASSIGN_OR_RETURN(frozen_, gauge_->Read());
  held_then_bytes_ = memory_->held_bytes();
  return absl::OkStatus();
}

absl::StatusOr<os::MemoryReading> HeldGauge::Read() {
  if (!frozen_) return gauge_->Read();
  os::MemoryReading reading = *frozen_;
  const auto more = static_cast<std::int64_t>(memory_->held_bytes()) - static_cast<std::int64_t>(held_then_bytes_);
  reading.available_bytes = std::min(reading.limit_bytes, Less(reading.available_bytes, more));
  reading.headroom_bytes = Less(reading.headroom_bytes, more);
  return reading;
}

}  // namespace ballast::pressure
