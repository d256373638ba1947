#include "worker/guard/psi_trigger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::guard {
namespace {

using std::chrono::microseconds;

// The short one needs the right to it; the kernel updates its averages every two seconds, and gives others a multiple
// of that.
constexpr microseconds kWindows[] = {std::chrono::seconds(1), std::chrono::seconds(2)};

}  // namespace

std::string TriggerText(microseconds stall, microseconds window) {
  return fmt::format("full {} {}", std::clamp(stall, microseconds(1), window).count(), window.count());
}

absl::StatusOr<PsiTrigger> PsiTrigger::Open(const std::string& path, double full_percent) {
  absl::Status refused;
  for (const microseconds window : kWindows) {
    PsiTrigger trigger;
    BALLAST_ASSIGN_OR_RETURN(trigger.fd_, base::OpenFile(path, O_RDWR | O_NONBLOCK));
    trigger.window_ = window;
    trigger.stall_ = microseconds(std::llround(full_percent / 100 * static_cast<double>(window.count())));
    const std::string text = TriggerText(trigger.stall_, window);
    // With its NUL: the kernel overwrites the last byte it is given.
    if (::write(trigger.fd_.get(), text.c_str(), text.size() + 1) >= 0) return trigger;
    refused = base::ErrnoStatus(errno, fmt::format("write '{}' to {}", text, path));
  }
  return refused;
}

}  // namespace ballast::guard
