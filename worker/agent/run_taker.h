// What a session wants of who carries runs out.
#pragma once

#include <optional>
#include <string>

#include "ballast/v1/worker_service.pb.h"
#include "worker/agent/attempt_key.h"

namespace ballast::agent {

// Who carries runs out, as a session sees it. Thread-safe.
class RunTaker {
 public:
  virtual ~RunTaker() = default;
  // Takes an assignment and returns. Attempts that are going on, have records in the spool, or ended here lately are
  // ignored: their records say it all. While another attempt is going on, the assignment is refused with no outcome, so
  // that it is queued again.
  virtual void Assign(const v1::Assignment& assignment) = 0;
  // Ends the attempt if it is going on or about to begin; otherwise does nothing.
  virtual void Cancel(const AttemptKey& key, v1::OutcomeKind outcome, const std::string& reason) = 0;
  // The attempt that is going on or about to begin.
  [[nodiscard]] virtual std::optional<AttemptKey> active() const = 0;
};

}  // namespace ballast::agent
