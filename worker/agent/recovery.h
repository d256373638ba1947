// Ends the attempts that an earlier process of this worker left open.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "worker/agent/spool.h"

namespace ballast::agent {

// What the machine says of itself after the start that ends what an earlier one left.
struct BootFacts {
  std::string boot_id;
  // When it booted, by its wall clock, which may have been wrong then or be wrong now; absent where nobody can tell.
  std::optional<base::SystemTime> boot_time;
  // What the firmware kept of a kernel's crash (/sys/fs/pstore), by file name.
  std::vector<std::string> crash_records;
};

// `root` is where /proc and /sys are found. What cannot be read is left empty.
[[nodiscard]] BootFacts ReadBootFacts(const std::string& root = "/", const base::Clock& clock = base::RealClock());

// Gives each cut-off attempt its last record: DEVICE_REBOOTED where the machine has booted since, WORKER_CRASHED where
// it has not. What the attempt had found out and its last samples come from the spool. Reads the attempts' records;
// waits for the spool's writer. Call before a session reads the spool.
void EndCutOffAttempts(const std::vector<CutOffAttempt>& cut_off, const BootFacts& boot, Spool* spool);

}  // namespace ballast::agent
