// Held memory with a hot set.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "ballast/v1/workload.pb.h"
#include "worker/pressure/held_memory.h"
#include "worker/pressure/hot_set.h"
#include "worker/pressure/pressure_memory.h"

namespace ballast::pressure {

// The hot set of a workload, if it has one: as it says, or, where a burst follows a PSI target and nothing is said, all
// pages (memory that nobody touches is swapped out, and stalls nobody).
[[nodiscard]] std::optional<v1::HotSet> HotSetOf(const v1::PressureWorkload& workload);

// Tells the hot set what is held, while memory grows and shrinks. Not thread-safe.
class HotMemory final : public PressureMemory {
 public:
  // Both outlive this. `paced`: the pattern may say how fast the hot set is touched.
  HotMemory(HeldMemory* memory, HotSet* hot_set, bool paced) : memory_(memory), hot_set_(hot_set), paced_(paced) {}

  [[nodiscard]] absl::Status Grow(std::size_t bytes, std::stop_token stop) override;
  // Waits for one touch at most.
  void Shrink(std::size_t bytes, const std::function<void()>& progress) override;
  [[nodiscard]] std::size_t held_bytes() const override { return memory_->held_bytes(); }
  [[nodiscard]] std::chrono::nanoseconds touch_time() const override { return hot_set_->report().last_round; }
  bool SetTouchInterval(std::chrono::nanoseconds interval) override {
    if (paced_) hot_set_->SetInterval(interval);
    return paced_;
  }
  [[nodiscard]] absl::StatusOr<std::uint64_t> ResidentBytes() override { return memory_->ResidentBytes(); }

 private:
  HeldMemory* memory_;
  HotSet* hot_set_;
  const bool paced_;
};

}  // namespace ballast::pressure
