// Memory in use, with the file cache that is held.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/held_memory.h"

namespace ballast::pressure {

// The kernel calls file pages available, because it can drop them. A run that holds such pages means them to be in use:
// this gauge counts those of `memory` that are resident, and were counted as available, as in use. Pages that the
// kernel has dropped do not count. Only for FILE_CACHE that is not locked: locked pages are in use for the kernel too.
// Not thread-safe.
class FileCacheGauge final : public os::MemoryGauge {
 public:
  // `memory` outlives this.
  FileCacheGauge(std::unique_ptr<os::MemoryGauge> gauge, HeldMemory* memory)
      : gauge_(std::move(gauge)), memory_(memory) {}

  [[nodiscard]] absl::StatusOr<os::MemoryReading> Read() override;
  [[nodiscard]] const std::string& limit_source() const override { return gauge_->limit_source(); }

 private:
  std::unique_ptr<os::MemoryGauge> gauge_;
  HeldMemory* memory_;
};

}  // namespace ballast::pressure
