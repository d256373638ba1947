#include "worker/pressure/file_cache_gauge.h"

#include "common/base/status.h"

namespace ballast::pressure {

absl::StatusOr<os::MemoryReading> FileCacheGauge::Read() {
  BALLAST_ASSIGN_OR_RETURN(const os::MemoryReading reading, gauge_->Read());
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t held, memory_->ResidentFileBytes());
  return os::CountHeldFileBytes(reading, held);
}

}  // namespace ballast::pressure
