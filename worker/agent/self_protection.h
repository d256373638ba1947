// The agent's own survival while memory runs out around it.
#pragma once

#include <string>
#include <vector>

namespace ballast::agent {

// What the process can do for itself.
struct SelfProtection {
  bool oom_score_lowered = false;  // the kernel's OOM killer passes it over
  bool may_lock_memory = false;    // LockMemory() can keep its pages from being swapped out or dropped
  // What it cannot do and why, one sentence each, for people. The OOM score is not among them: DeviceFacts has it.
  std::vector<std::string> limitations;
};

// Sets oom_score_adj to -1000, and finds out what else is allowed. Call once, early. What is refused only makes the
// agent weaker. Children inherit oom_score_adj: whoever starts one sets it anew (ChildOptions).
[[nodiscard]] SelfProtection ProtectSelf();

// Locks the process's memory from now on, each page when it is first touched, where `protection` says that it may.
// Before that the pages of program code and constants that are resident are let go (they come back as they are
// touched): most served the start alone. Call when the start is over. False when the kernel refuses.
bool LockMemory(const SelfProtection& protection);

// Touches what the calling thread's stack will need, so that no page of it has to be found while memory is short. Once
// memory is locked it then stays.
void PrefaultStack();

// Gives the calling thread a higher scheduling priority while it lives, where that is allowed. Start no child
// meanwhile: it would inherit it.
class ScopedPriority {
 public:
  ScopedPriority();
  ~ScopedPriority();
  ScopedPriority(const ScopedPriority&) = delete;
  ScopedPriority& operator=(const ScopedPriority&) = delete;

 private:
  int before_ = 0;
  bool raised_ = false;
};

}  // namespace ballast::agent
