// What held pages are filled with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ballast/v1/workload.pb.h"

namespace ballast::pressure {

// The size of a page of content. Kernels with larger pages (64 KiB on some arm64) hold several of them in one.
inline constexpr std::size_t kContentPageBytes = 4096;

// Words in a page of content.
inline constexpr std::size_t kContentPageWords = kContentPageBytes / sizeof(std::uint64_t);

// `pages` pages of content, made from `seed`. RANDOM: random words. ZERO: zeros. COMPRESSIBLE: in each page runs of
// random words spread evenly among zeros, as many as make a page compress to about 1 / compression_ratio (by lz4, lzo
// and zstd, which spend a few bytes on every run). The first word of each page is random unless the content is ZERO, so
// that it can carry a mark that makes the page unique.
[[nodiscard]] std::vector<std::uint64_t> MakePageBlock(const v1::PageContent& content, std::size_t pages,
                                                       std::uint64_t seed);

// A word that looks random; no two values of `counter` give the same (splitmix64's finaliser, a bijection).
[[nodiscard]] constexpr std::uint64_t MixWord(std::uint64_t counter) {
  std::uint64_t x = counter + 0x9e37'79b9'7f4a'7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d0'49bb'1331'11ebU;
  return x ^ (x >> 31U);
}

}  // namespace ballast::pressure
