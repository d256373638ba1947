// Virtual time: what happens next happens at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "tests/simulation/random.h"

namespace ballast::simulation {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// Events in order of their time; those of one instant in an order that chance decides. Not thread-safe.
class Timeline {
 public:
  explicit Timeline(Random* random) : random_(random) {}

  [[nodiscard]] nanoseconds now() const { return now_; }
  void At(nanoseconds time, std::function<void()> event);
  void After(nanoseconds delay, std::function<void()> event) { At(now_ + delay, std::move(event)); }

  // Carries out the next event; false where there is none.
  bool Step();
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  struct Event {
    nanoseconds time{};
    std::uint64_t order = 0;
    std::uint64_t number = 0;
    std::function<void()> act;
  };
  static bool IsLater(const Event& a, const Event& b);

  Random* random_;
  nanoseconds now_ = seconds(1000);
  std::vector<Event> heap_;
  std::uint64_t steps_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace ballast::simulation
