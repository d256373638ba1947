// The memory that a pattern moves, as a seam: the engine is tested against a simulated machine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::pressure {

// Memory that grows and shrinks. Not thread-safe.
class PressureMemory {
 public:
  virtual ~PressureMemory() = default;

  // Holds `bytes` more, rounded up to whole pages, all of them resident. Blocks while the kernel reclaims.
  // RESOURCE_EXHAUSTED when the kernel refuses, CANCELLED on stop; what was filled until then stays held. The process
  // may be OOM-killed in here.
  [[nodiscard]] virtual absl::Status Grow(std::size_t bytes, std::stop_token stop) = 0;

  // Gives the last `bytes` back to the system, rounded up to whole pages; everything where that is less. Calls
  // `progress` now and then: held_bytes() is what is left by then.
  virtual void Shrink(std::size_t bytes, const std::function<void()>& progress) = 0;

  // Bytes held now: whole pages.
  [[nodiscard]] virtual std::size_t held_bytes() const = 0;

  // How long it lately took to touch once whatever is touched again and again; 0 where nothing is.
  [[nodiscard]] virtual std::chrono::nanoseconds touch_time() const { return std::chrono::nanoseconds(0); }

  // Touches everything that is held, on average once in this time, at random, from now on. False where what is touched
  // is not for the pattern to say.
  virtual bool SetTouchInterval(std::chrono::nanoseconds interval) { return interval.count() < 0; }

  // Resident bytes of the whole process, by the kernel's count. INTERNAL when they cannot be read.
  [[nodiscard]] virtual absl::StatusOr<std::uint64_t> ResidentBytes() = 0;
};

}  // namespace ballast::pressure
