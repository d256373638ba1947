// Memory in use as it would be if nobody else had moved since a hold began.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/pressure_memory.h"

namespace ballast::pressure {

// A hold in which something else is tested (a model that is loaded) must not give way to it. From Freeze() on readings
// take what others use for what it was then; only what `memory` holds still counts as it changes. Not thread-safe.
class HeldGauge final : public os::MemoryGauge {
 public:
  // Both outlive this.
  HeldGauge(os::MemoryGauge* gauge, const PressureMemory* memory) : gauge_(gauge), memory_(memory) {}

  // From now on, as the gauge reads now. Codes of the gauge.
  [[nodiscard]] absl::Status Freeze();
  [[nodiscard]] bool frozen() const { return frozen_.has_value(); }

  [[nodiscard]] absl::StatusOr<os::MemoryReading> Read() override;
  [[nodiscard]] const std::string& limit_source() const override { return gauge_->limit_source(); }

 private:
  os::MemoryGauge* gauge_;
  const PressureMemory* memory_;
  std::optional<os::MemoryReading> frozen_;
  std::uint64_t held_then_bytes_ = 0;
};

}  // namespace ballast::pressure
