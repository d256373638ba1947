#include "worker/guard/rate_window.h"

namespace ballast::guard {
namespace {

constexpr std::chrono::seconds kWindow(1);
constexpr std::chrono::milliseconds kLeastSpan(500);
constexpr std::chrono::milliseconds kSpacing(18);  // 64 of them are more than the window

}  // namespace

std::optional<double> RateWindow::Add(std::chrono::nanoseconds time, std::uint64_t value) {
  if (count_ > 0 && FromOldest(count_ - 1).value > value) count_ = 0;
  // Of the values that are a second old only the youngest is of use.
  while (count_ > 1 && time - FromOldest(1).time >= kWindow) {
    oldest_ = (oldest_ + 1) % kEntries;
    --count_;
  }
  std::optional<double> rate;
  if (count_ > 0 && time - FromOldest(0).time >= kLeastSpan) {
    const std::chrono::duration<double> span = time - FromOldest(0).time;
    rate = static_cast<double>(value - FromOldest(0).value) / span.count();
  }
  if (count_ < kEntries && (count_ == 0 || time - FromOldest(count_ - 1).time >= kSpacing)) {
    entries_[(oldest_ + count_) % kEntries] = {time, value};
    ++count_;
  }
  return rate;
}

}  // namespace ballast::guard
