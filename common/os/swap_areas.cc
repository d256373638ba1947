#include "common/os/swap_areas.h"

#include <optional>

#include "common/os/line_scanner.h"

namespace ballast::os {
namespace {

constexpr std::uint64_t kKib = 1024;

}  // namespace

std::vector<SwapArea> ParseSwapAreas(std::string_view content) {
  std::vector<SwapArea> areas;
  std::string_view line;
  while (NextLine(&content, &line)) {
    // NAME TYPE SIZE USED PRIORITY, sizes in KiB; blanks in names are escaped, and the first line is a heading.
    std::string_view name;
    std::string_view type;
    if (!NextWord(&line, &name) || !NextWord(&line, &type)) continue;
    const std::optional<std::uint64_t> size = NextNumber<std::uint64_t>(&line);
    const std::optional<std::uint64_t> used = NextNumber<std::uint64_t>(&line);
    const std::optional<std::int64_t> priority = NextNumber<std::int64_t>(&line);
    if (!size || !used || !priority) continue;
    areas.push_back({.name = std::string(name),
                     .size_bytes = *size * kKib,
                     .priority = *priority,
                     .zram = name.starts_with("/dev/zram")});
  }
  return areas;
}

}  // namespace ballast::os
