// How far the coordinator's clock is from the device's, measured over their session.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>

#include "ballast/v1/run.pb.h"
#include "common/base/clock.h"

namespace ballast::agent {

// Keeps the best of the readings of the coordinator's clock. It is kept against the device's monotonic clock, so that
// it stays right when the device's wall clock is set. Thread-safe.
class PeerClock {
 public:
  // A new session: readings of an earlier one, from before a sleep of the device perhaps or of another coordinator,
  // give way to the next.
  void BeginSession();

  // The coordinator's clock was `reading` at some instant between `asked` and `answered` on the monotonic clock.
  void Add(std::chrono::nanoseconds asked, std::chrono::nanoseconds answered, base::SystemTime reading);

  // The offset for a device whose clocks show `wall` and `monotonic` now; nothing before the first reading.
  [[nodiscard]] std::optional<v1::ClockOffset> OffsetAt(base::SystemTime wall,
                                                        std::chrono::nanoseconds monotonic) const;

 private:
  struct Reading {
    std::chrono::nanoseconds ahead{};  // the coordinator's wall clock minus the device's monotonic one
    std::chrono::nanoseconds error{};  // when it was measured
    std::chrono::nanoseconds time{};   // when, on the monotonic clock

    [[nodiscard]] std::chrono::nanoseconds ErrorAt(std::chrono::nanoseconds monotonic) const;
  };

  mutable std::mutex mutex_;
  std::optional<Reading> best_;
  bool outdated_ = false;
};

}  // namespace ballast::agent
