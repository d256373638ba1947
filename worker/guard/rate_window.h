// How fast a counter rises.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace ballast::guard {

// The rise of a counter over about the last second. Keeps a few dozen of its values; does not allocate. Not
// thread-safe.
class RateWindow {
 public:
  // The rise a second up to `value`, counted from the youngest value that is a second old, or from the oldest there is.
  // Nothing in the first half second, and when the counter has gone back. `time` never goes back.
  std::optional<double> Add(std::chrono::nanoseconds time, std::uint64_t value);

 private:
  struct Entry {
    std::chrono::nanoseconds time{0};
    std::uint64_t value = 0;
  };
  static constexpr std::size_t kEntries = 64;

  [[nodiscard]] const Entry& FromOldest(std::size_t index) const { return entries_[(oldest_ + index) % kEntries]; }

  std::array<Entry, kEntries> entries_;
  std::size_t oldest_ = 0;
  std::size_t count_ = 0;
};

}  // namespace ballast::guard
