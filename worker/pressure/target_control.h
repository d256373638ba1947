// The decision of the closed loop: how much to move, given one reading. Pure.
#pragma once

#include <chrono>
#include <cstdint>

#include "common/os/memory_gauge.h"

namespace ballast::pressure {

// What a target is followed with.
struct ControlSettings {
  double floor_percent = 0;  // available memory below which nothing is allocated, in percent of the limit; 0 for none
  std::uint64_t chunk_bytes = 0;  // most that is allocated in one go; a target is never overshot by more
  bool paused = false;            // nothing is allocated for now
};

// One move.
struct Correction {
  // Why a move is smaller than the distance asks for.
  enum class Bound {
    kNone,
    kFloor,        // available memory is down to the floor
    kNothingHeld,  // memory in use is above the target, and none of it is held by this process
    kPaused,       // memory had to be given back a moment ago
  };
  std::int64_t move_bytes = 0;   // to allocate, or (negative) to give back
  std::int64_t error_bytes = 0;  // target less memory in use
  Bound bound = Bound::kNone;
};

// A target counts as held while memory in use is this close to it: 0.2 points. Nothing is moved within, so that the
// noise of the readings does not keep the loop busy.
[[nodiscard]] std::uint64_t DeadBandBytes(std::uint64_t limit_bytes);

// The next move towards `target_bytes` of memory in use. It covers half of the distance (at least a quarter of the dead
// band), so that several loops on one device, which all see the same distance, together do not overshoot and swing. At
// rest nothing is moved within the dead band; once `moving`, until a quarter of it is left.
[[nodiscard]] Correction NextCorrection(const os::MemoryReading& reading, std::uint64_t held_bytes,
                                        std::uint64_t target_bytes, const ControlSettings& settings, bool moving);

// Bytes that may be allocated until available memory is down to the floor, in whole pages of any size.
[[nodiscard]] std::uint64_t RoomAboveFloor(const os::MemoryReading& reading, double floor_percent);

// How long to wait until the next reading, where one takes `look_cost`: half a percent of a processor is spent on
// looking, but not more often than every 10 ms nor less often than every 50 ms.
[[nodiscard]] std::chrono::nanoseconds LookPeriod(std::chrono::nanoseconds look_cost);

// How much may be allocated between two readings: at most a 256th of the limit (but not less than 1 MiB), 64 MiB, and
// what takes 20 ms at `bytes_per_second` (0 where it is not known yet; then 1 MiB), so that the loop sees what happens
// around it and is heard of in time.
[[nodiscard]] std::uint64_t ChunkBytes(std::uint64_t limit_bytes, double bytes_per_second);

}  // namespace ballast::pressure
