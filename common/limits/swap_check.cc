#include "common/limits/swap_check.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <fmt/format.h>

#include "common/base/units.h"

namespace ballast::environment {
namespace {

constexpr char kPlace[] = "/proc/swaps";
// An area is smaller than the file or disk that was made into it by a page, which is up to this large.
constexpr std::uint64_t kHeaderBytes = 65536;

EnvironmentRefusal Lacks(std::string cause, bool zram, std::uint64_t size_bytes) {
  return {.cause = std::move(cause),
          .place = kPlace,
          .next_step = fmt::format("give the device {} of {} (swapon), or choose a profile with less swap",
                                   base::FormatBytes(size_bytes), zram ? "zram swap" : "swap")};
}

}  // namespace

std::optional<EnvironmentRefusal> CheckSwap(const v1::SwapLimit& wanted, const std::vector<os::SwapArea>& areas,
                                            bool limitable, const std::string& limit_file,
                                            std::vector<std::string>* remarks) {
  std::uint64_t all = 0;
  std::uint64_t zram = 0;
  std::int64_t lowest_zram = std::numeric_limits<std::int64_t>::max();
  const os::SwapArea* highest_other = nullptr;
  for (const os::SwapArea& area : areas) {
    all += area.size_bytes;
    if (area.zram) {
      zram += area.size_bytes;
      lowest_zram = std::min(lowest_zram, area.priority);
    } else if (highest_other == nullptr || area.priority > highest_other->priority) {
      highest_other = &area;
    }
  }
  const bool swaps = wanted.kind() == v1::SwapLimit::DEVICE || wanted.kind() == v1::SwapLimit::ZRAM;
  const std::uint64_t size = wanted.size_bytes();
  if (!limitable && all > 0) {
    return EnvironmentRefusal{
        .cause = fmt::format("the profile wants {} of swap, the device has {}, and the kernel cannot limit it",
                             base::FormatBytes(swaps ? size : 0), base::FormatBytes(all)),
        .place = limit_file + " is missing",
        .next_step = "boot the kernel with swapaccount=1, or switch the device's swap off (swapoff -a)"};
  }
  if (!swaps) {
    if (!limitable) remarks->emplace_back("Swap is not limited, which makes no difference: the device has none.");
    return std::nullopt;
  }
  if (size == 0) {
    return EnvironmentRefusal{.cause = "the profile wants swap and does not say how much",
                              .place = "swap.size_bytes of the profile",
                              .next_step = "give swap.size_bytes, or swap: {kind: NONE}"};
  }
  const bool wants_zram = wanted.kind() == v1::SwapLimit::ZRAM;
  const std::uint64_t usable = wants_zram ? zram : all;
  if (usable + kHeaderBytes * areas.size() < size) {
    return Lacks(fmt::format("the profile wants {} of {}, and the device has {}", base::FormatBytes(size),
                             wants_zram ? "swap in compressed memory (zram)" : "swap", base::FormatBytes(usable)),
                 wants_zram, size);
  }
  if (!wants_zram || highest_other == nullptr) return std::nullopt;
  if (highest_other->priority >= lowest_zram) {
    return EnvironmentRefusal{
        .cause = fmt::format("the profile wants swap in compressed memory (zram), and the kernel swaps to {} as soon "
                             "(priority {}, zram has {})",
                             highest_other->name, highest_other->priority, lowest_zram),
        .place = kPlace,
        .next_step = fmt::format("swapoff {}, or give zram a higher priority (swapon -p)", highest_other->name)};
  }
  remarks->push_back(fmt::format("Once zram is full, the kernel swaps to {} as well.", highest_other->name));
  return std::nullopt;
}

}  // namespace ballast::environment
