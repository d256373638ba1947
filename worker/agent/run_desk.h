// Which assignment a worker takes: one run at a time, each attempt once.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "worker/agent/attempt_key.h"

namespace ballast::agent {

// What is done about an assignment.
struct AssignmentVerdict {
  enum class Kind {
    kTake,
    kIgnore,  // the worker has or had this attempt: its records say it all
    kRefuse,  // with no outcome, so that it is queued again
  };
  Kind kind = Kind::kTake;
  std::string reason;  // of a refusal
};

// The decisions of a worker about assignments, without threads, files or runners. Not thread-safe.
class RunDesk {
 public:
  // `in_spool`: the spool has records of the attempt. `stopping`: the worker takes nothing more.
  [[nodiscard]] AssignmentVerdict Judge(const AttemptKey& key, bool in_spool, bool stopping) const;

  // An assignment was taken, with nothing else going on.
  void Begin(AttemptKey key) { active_ = std::move(key); }
  // It is over: it left records (`carried_out`), or was refused after all.
  void End(bool carried_out);

  // The attempt that is going on or about to begin.
  [[nodiscard]] const std::optional<AttemptKey>& active() const { return active_; }

 private:
  std::optional<AttemptKey> active_;
  std::deque<AttemptKey> ended_;  // lately, oldest first: their records may be acknowledged and gone
};

}  // namespace ballast::agent
