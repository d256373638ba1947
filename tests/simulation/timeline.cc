#include "tests/simulation/timeline.h"

#include <algorithm>
#include <tuple>

namespace ballast::simulation {

bool Timeline::IsLater(const Event& a, const Event& b) {
  return std::tie(a.time, a.order, a.number) > std::tie(b.time, b.order, b.number);
}

void Timeline::At(nanoseconds time, std::function<void()> event) {
  heap_.push_back({std::max(time, now_), random_->Next(), ++number_, std::move(event)});
  std::ranges::push_heap(heap_, IsLater);
}

bool Timeline::Step() {
  if (heap_.empty()) return false;
  std::ranges::pop_heap(heap_, IsLater);
  Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.time;
  ++steps_;
  event.act();
  return true;
}

}  // namespace ballast::simulation
