// Whether devices are trusted with runs: quarantine, self-tests, and the way back. Inside of the core only.
#pragma once

#include <chrono>
#include <string>

#include "coordinator/core/state.h"
#include "coordinator/core/turn.h"

namespace ballast::core {

// The longest time between two self-tests.
inline constexpr std::chrono::nanoseconds kLongestCheckInterval = std::chrono::hours(24);
// A self-test that was asked for and did not come is asked for again after this time.
inline constexpr std::chrono::nanoseconds kWantAgain = std::chrono::minutes(1);

// Not thread-safe.
class HealthDesk {
 public:
  explicit HealthDesk(State* state) : state_(state) {}

  // The last attempt of the device's run has ended: counts failures of the infrastructure, and puts the device into
  // quarantine after too many in a row.
  void NoteAttempt(Turn& turn, DeviceEntry* device, const RunEntry& run);
  // A job has ended: where it was the self-test of a device, it decides.
  void NoteJobEnd(Turn& turn, const v1::Job& job);
  // The self-test that was wanted is there, or cannot be.
  void CheckSubmitted(Turn& turn, DeviceEntry* device, const std::string& job_id);
  void CheckRefused(Turn& turn, const std::string& device_id, const std::string& reason);
  // Trusts the device again at a user's word.
  void Clear(Turn& turn, DeviceEntry* device);

  // Asks for a self-test whose time has come.
  void CheckTime(Turn& turn, DeviceEntry* device);
  // A restart: when the next is due.
  void Restore(const Instant& now, DeviceEntry* device);
  // Whether a self-test is to be asked for at `next_check`.
  [[nodiscard]] static bool MayCheck(const DeviceEntry& device);

 private:
  void Plan(Turn& turn, DeviceEntry* device, std::chrono::nanoseconds after);
  [[nodiscard]] std::chrono::nanoseconds Interval(const DeviceEntry& device) const;

  State* state_;
};

}  // namespace ballast::core
