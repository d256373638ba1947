// What a device can swap to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::os {

// A line of /proc/swaps.
struct SwapArea {
  std::string name;  // of the file or the device
  std::uint64_t size_bytes = 0;
  std::int64_t priority = 0;  // the kernel fills areas of higher priority first
  bool zram = false;          // compressed memory
};

// The content of /proc/swaps. Lines that make no sense are left out.
[[nodiscard]] std::vector<SwapArea> ParseSwapAreas(std::string_view content);

}  // namespace ballast::os
