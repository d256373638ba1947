#include "worker/pressure/target_control.h"

#include <algorithm>

#include "worker/pressure/pattern_curve.h"

namespace ballast::pressure {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLargestPageBytes = 65536;

// 0.2 points of the limit.
constexpr std::uint64_t kDeadBandDivisor = 500;

constexpr std::uint64_t kMaxChunkBytes = 64 * kMiB;
constexpr std::uint64_t kMinChunkBytes = kMiB;
constexpr std::uint64_t kChunksInLimit = 256;
constexpr double kChunkSeconds = 0.02;

constexpr int kLookCostsInPeriod = 200;
constexpr std::chrono::nanoseconds kShortestPeriod = std::chrono::milliseconds(10);
constexpr std::chrono::nanoseconds kLongestPeriod = std::chrono::milliseconds(50);

std::int64_t Difference(std::uint64_t a, std::uint64_t b) {
  return a >= b ? static_cast<std::int64_t>(a - b) : -static_cast<std::int64_t>(b - a);
}

}  // namespace

std::uint64_t DeadBandBytes(std::uint64_t limit_bytes) {
  return std::max(limit_bytes / kDeadBandDivisor, 4 * kLargestPageBytes);  // a quarter of it is at least a page
}

Correction NextCorrection(const os::MemoryReading& reading, std::uint64_t held_bytes, std::uint64_t target_bytes,
                          const ControlSettings& settings, bool moving) {
  Correction correction;
  correction.error_bytes = Difference(target_bytes, reading.used_bytes());
  const std::uint64_t band = DeadBandBytes(reading.limit_bytes);
  const std::uint64_t fine = band / 4;
  const std::uint64_t distance =
      static_cast<std::uint64_t>(correction.error_bytes < 0 ? -correction.error_bytes : correction.error_bytes);
  if (distance <= (moving ? fine : band)) return correction;

  const std::uint64_t wanted = std::max(distance / 2, fine);
  if (correction.error_bytes < 0) {
    // Giving back is quick and cannot hurt anybody, so it is not cut into chunks.
    const std::uint64_t released = std::min(wanted, held_bytes);
    if (released == 0) correction.bound = Correction::Bound::kNothingHeld;
    correction.move_bytes = -static_cast<std::int64_t>(released);
    return correction;
  }
  if (settings.paused) {
    correction.bound = Correction::Bound::kPaused;
    return correction;
  }
  const std::uint64_t room = RoomAboveFloor(reading, settings.floor_percent);
  // The last trifle is left: other processes' comings and goings would keep the loop at it for ever.
  if (room < fine) {
    correction.bound = Correction::Bound::kFloor;
    return correction;
  }
  correction.move_bytes = static_cast<std::int64_t>(std::min({wanted, settings.chunk_bytes, room}));
  return correction;
}

std::uint64_t RoomAboveFloor(const os::MemoryReading& reading, double floor_percent) {
  const std::uint64_t floor = BytesOfPercent(reading.limit_bytes, floor_percent);
  const std::uint64_t room = reading.headroom_bytes > floor ? reading.headroom_bytes - floor : 0;
  // Memory is allocated in whole pages: rounding up must not go below the floor.
  return room - room % kLargestPageBytes;
}

std::chrono::nanoseconds LookPeriod(std::chrono::nanoseconds look_cost) {
  return std::clamp(kLookCostsInPeriod * look_cost, kShortestPeriod, kLongestPeriod);
}

std::uint64_t ChunkBytes(std::uint64_t limit_bytes, double bytes_per_second) {
  const std::uint64_t share = std::clamp(limit_bytes / kChunksInLimit, kMinChunkBytes, kMaxChunkBytes);
  if (!(bytes_per_second > 0)) return kMinChunkBytes;
  const double timed = bytes_per_second * kChunkSeconds;
  if (timed >= static_cast<double>(share)) return share;
  return std::max(static_cast<std::uint64_t>(timed), kMinChunkBytes);
}

}  // namespace ballast::pressure
