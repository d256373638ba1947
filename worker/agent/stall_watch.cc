#include "worker/agent/stall_watch.h"

#include <utility>

namespace ballast::agent {

std::optional<double> StallWatch::Read(const std::optional<v1::PsiTarget>& target, pid_t runner) {
  if (!target) return std::nullopt;
  if (!opened_) {
    opened_ = true;
    absl::StatusOr<std::unique_ptr<os::MemoryStall>> stall = os::MemoryStall::Open(root_, std::to_string(runner));
    if (stall.ok()) stall_ = *std::move(stall);
  }
  if (!stall_) return std::nullopt;
  const absl::StatusOr<os::StallReading> reading = stall_->Read();
  if (!reading.ok()) return std::nullopt;
  return target->kind() == v1::PsiTarget::FULL ? reading->full.avg10_percent : reading->some.avg10_percent;
}

}  // namespace ballast::agent
