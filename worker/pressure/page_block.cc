#include "worker/pressure/page_block.h"

#include <algorithm>
#include <cmath>

namespace ballast::pressure {
namespace {

// What a compressor spends beside the random bytes themselves: on each run (its length, and a reference for the zeros
// behind it) and on the page as a whole. Between what lz4, lzo-rle and zstd need, as measured on zram.
constexpr double kBytesPerRun = 5;
constexpr double kBytesPerPage = 20;

// Random bytes of a run where the ratio leaves the choice: short runs look like data, but cost more to describe.
constexpr double kRunBytes = 64;

// How one compressible page is laid out: `runs` runs of random words at even distances, `words` random words in all.
struct Layout {
  std::size_t runs = 1;
  std::size_t words = kContentPageWords;
};

Layout LayoutFor(double ratio) {
  if (!(ratio > 1)) return {};
  const double budget = static_cast<double>(kContentPageBytes) / ratio;
  const double runs = std::max(1.0, std::round((budget - kBytesPerPage) / (kRunBytes + kBytesPerRun)));
  const double random_bytes = budget - kBytesPerPage - runs * kBytesPerRun;
  const auto words = static_cast<std::size_t>(std::max(1.0, std::round(random_bytes / sizeof(std::uint64_t))));
  Layout layout;
  layout.words = std::min(words, kContentPageWords);
  layout.runs = std::min(static_cast<std::size_t>(runs), layout.words);
  return layout;
}

}  // namespace

std::vector<std::uint64_t> MakePageBlock(const v1::PageContent& content, std::size_t pages, std::uint64_t seed) {
  std::vector<std::uint64_t> block(pages * kContentPageWords, 0);
  if (content.kind() == v1::PageContent::ZERO) return block;
  const Layout layout =
      content.kind() == v1::PageContent::COMPRESSIBLE ? LayoutFor(content.compression_ratio()) : Layout{};
  for (std::size_t page = 0; page < pages; ++page) {
    const std::size_t base = page * kContentPageWords;
    for (std::size_t run = 0; run < layout.runs; ++run) {
      const std::size_t begin = run * kContentPageWords / layout.runs;
      const std::size_t first = run * layout.words / layout.runs;
      const std::size_t last = (run + 1) * layout.words / layout.runs;
      for (std::size_t word = 0; word < last - first; ++word) block[base + begin + word] = MixWord(seed++);
    }
  }
  return block;
}

}  // namespace ballast::pressure
