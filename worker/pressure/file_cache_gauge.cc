#include "worker/pressure/file_cache_gauge.h"

#include <algorithm>

#include "common/base/status.h"

namespace ballast::pressure {

os::MemoryReading CountHeldFileBytes(os::MemoryReading reading, std::uint64_t held_file_bytes) {
  if (reading.file_bytes == 0) return reading;
  const double share = static_cast<double>(reading.available_file_bytes) / static_cast<double>(reading.file_bytes);
  const std::uint64_t held = std::min(held_file_bytes, reading.file_bytes);
  const auto counted = static_cast<std::uint64_t>(share * static_cast<double>(held));
  reading.available_bytes -= std::min(reading.available_bytes, counted);
  reading.headroom_bytes -= std::min(reading.headroom_bytes, counted);
  return reading;
}

absl::StatusOr<os::MemoryReading> FileCacheGauge::Read() {
  BALLAST_ASSIGN_OR_RETURN(const os::MemoryReading reading, gauge_->Read());
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t held, memory_->ResidentFileBytes());
  return CountHeldFileBytes(reading, held);
}

}  // namespace ballast::pressure
