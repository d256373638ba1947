// Ends the attempts that an earlier process of this worker left open.
#pragma once

#include <string>
#include <vector>

#include "worker/agent/spool.h"

namespace ballast::agent {

// Gives each cut-off attempt its last record: DEVICE_REBOOTED where the machine has booted since, WORKER_CRASHED where
// it has not. What the attempt had found out and its last samples come from the spool. Reads the attempts' records;
// waits for the spool's writer. Call before a session reads the spool.
void EndCutOffAttempts(const std::vector<CutOffAttempt>& cut_off, const std::string& boot_id, Spool* spool);

}  // namespace ballast::agent
