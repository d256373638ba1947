// Reads what a spool has to hand over.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "ballast/v1/record.pb.h"
#include "worker/agent/attempt_key.h"
#include "worker/agent/spool.h"

namespace ballast::agent {

// Reads a spool's unacknowledged records in order, attempt by attempt, each once. Not thread-safe: one reader a thread.
class SpoolReader {
 public:
  explicit SpoolReader(Spool* spool) : spool_(spool) {}
  // Reads one attempt alone.
  SpoolReader(Spool* spool, AttemptKey only) : spool_(spool), only_(std::move(only)) {}

  // The next record; nothing when there is none now (later there may be). A record that can no longer be read back from
  // the disk is given up, with an error in the log.
  [[nodiscard]] std::optional<v1::Record> Next();

  // From now on every unacknowledged record comes again, from the first.
  void Rewind();

 private:
  Spool* spool_;
  std::optional<AttemptKey> only_;
  std::map<AttemptKey, std::uint64_t> last_read_;
};

}  // namespace ballast::agent
