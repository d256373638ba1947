#include "worker/pressure/hot_memory.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ballast::pressure {

std::optional<v1::HotSet> HotSetOf(const v1::PressureWorkload& workload) {
  if (workload.has_hot_set()) return workload.hot_set();
  if (!workload.burst().has_target_psi()) return std::nullopt;
  v1::HotSet all;
  all.set_percent(100);
  all.mutable_interval()->set_seconds(1);  // until the pattern says otherwise
  return all;
}

absl::Status HotMemory::Grow(std::size_t bytes, std::stop_token stop) {
  absl::Status status = memory_->Grow(bytes, std::move(stop));
  hot_set_->SetPages(memory_->segments());
  return status;
}

void HotMemory::Shrink(std::size_t bytes, const std::function<void()>& progress) {
  // Nobody may touch what goes, so the hot set hears of it first. It counts whole pages only.
  std::vector<HeldMemory::Segment> kept = memory_->segments();
  for (std::size_t left = bytes; left > 0 && !kept.empty();) {
    const std::size_t part = std::min(left, kept.back().bytes);
    kept.back().bytes -= part;
    if (kept.back().bytes == 0) kept.pop_back();
    left -= part;
  }
  hot_set_->SetPages(kept);
  memory_->Shrink(bytes, progress);
}

}  // namespace ballast::pressure
