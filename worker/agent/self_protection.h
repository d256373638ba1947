// The agent's own survival while memory runs out around it.
#pragma once

#include <string>
#include <vector>

namespace ballast::agent {

// What the process could do for itself.
struct SelfProtection {
  bool oom_score_lowered = false;  // the kernel's OOM killer passes it over
  bool memory_locked = false;      // its pages are never swapped out or dropped
  // What it could not do and why, one sentence each, for people. The OOM score is not among them: DeviceFacts has it.
  std::vector<std::string> limitations;
};

// Sets oom_score_adj to -1000 and locks the process's memory, pages as they are first touched. Call once, early. What
// is refused only makes the agent weaker. Children inherit oom_score_adj: whoever starts one sets it anew
// (ChildOptions).
[[nodiscard]] SelfProtection ProtectSelf();

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
