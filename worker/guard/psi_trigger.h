// The kernel's alarm for stalls.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::guard {

// A trigger on a file with figures of stalls: the kernel tells, through poll(POLLPRI) and at most once a window, that
// every task stalled for a share of it. Move-only.
class PsiTrigger {
 public:
  // Asks for a window of 1 s; where the process may not (CAP_SYS_RESOURCE), for one of 2 s, which kernels since 6.4
  // grant to anybody. Codes of base::ErrnoStatus where neither is granted.
  [[nodiscard]] static absl::StatusOr<PsiTrigger> Open(const std::string& path, double full_percent);

  // For poll(POLLPRI). POLLERR: the cgroup is gone, and the trigger with it.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::chrono::microseconds window() const { return window_; }
  [[nodiscard]] std::chrono::microseconds stall() const { return stall_; }

 private:
  base::Fd fd_;
  std::chrono::microseconds window_{0};
  std::chrono::microseconds stall_{0};
};

// What is written to set a trigger: `full STALL WINDOW`, in microseconds. The stall is at least 1 us and at most the
// window.
[[nodiscard]] std::string TriggerText(std::chrono::microseconds stall, std::chrono::microseconds window);

}  // namespace ballast::guard
