#include "worker/pressure/page_block.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "tests/unit/worker/pressure/zram_device.h"

namespace ballast::pressure {
namespace {

constexpr std::size_t kPages = 16;

// Original over compressed size, each page by itself as zram and zswap do it.
double PageRatio(const std::vector<std::uint64_t>& block) {
  std::vector<char> out(ZSTD_compressBound(kContentPageBytes));
  std::size_t compressed = 0;
  for (std::size_t page = 0; page < block.size() / kContentPageWords; ++page) {
    compressed += ZSTD_compress(out.data(), out.size(), block.data() + page * kContentPageWords, kContentPageBytes, 1);
  }
  return static_cast<double>(block.size() * sizeof(std::uint64_t)) / static_cast<double>(compressed);
}

v1::PageContent Content(v1::PageContent::Kind kind, double ratio = 2) {
  v1::PageContent content;
  content.set_kind(kind);
  content.set_compression_ratio(ratio);
  return content;
}

TEST(PageBlockTest, RandomPagesDoNotCompress) {
  const auto block = MakePageBlock(Content(v1::PageContent::RANDOM), kPages, 1);
  EXPECT_LT(PageRatio(block), 1.02);
  EXPECT_EQ(std::set<std::uint64_t>(block.begin(), block.end()).size(), block.size());
}

TEST(PageBlockTest, ZeroPagesAreZero) {
  const auto block = MakePageBlock(Content(v1::PageContent::ZERO), kPages, 1);
  EXPECT_EQ(std::count(block.begin(), block.end(), 0U), static_cast<std::ptrdiff_t>(block.size()));
}

class CompressibleTest : public ::testing::TestWithParam<double> {};

TEST_P(CompressibleTest, ReachesTheAskedRatio) {
  const auto block = MakePageBlock(Content(v1::PageContent::COMPRESSIBLE, GetParam()), kPages, 1);
  EXPECT_NEAR(PageRatio(block) / GetParam(), 1.0, 0.15);
}

TEST_P(CompressibleTest, SpreadsTheRandomWordsOverThePage) {
  const auto block = MakePageBlock(Content(v1::PageContent::COMPRESSIBLE, GetParam()), 1, 1);
  EXPECT_NE(block[0], 0U) << "the word that carries a page's mark";
  if (GetParam() > 16) return;  // too few words to spread
  const auto half = block.begin() + kContentPageWords / 2;
  const auto zeros_before = std::count(block.begin(), half, 0U);
  const auto zeros_behind = std::count(half, block.end(), 0U);
  EXPECT_NEAR(static_cast<double>(zeros_before), static_cast<double>(zeros_behind), 16);
}

// What the kernel's own compressors make of it, on a block device of theirs. (zstd is tested above.)
TEST_P(CompressibleTest, ReachesTheAskedRatioOnZram) {
  if (GetParam() > 32) GTEST_SKIP() << "about so few bytes the compressors differ by more";
  constexpr std::size_t kBytes = 512 * kContentPageBytes;
  for (const char* algorithm : {"lzo-rle", "lz4"}) {
    auto device = ZramDevice::Create(algorithm, 2 * kBytes);
    if (!device) GTEST_SKIP() << "no zram, or no right to add a device, or no " << algorithm << " in it";
    const auto block = MakePageBlock(Content(v1::PageContent::COMPRESSIBLE, GetParam()), 512, 1);
    const std::unique_ptr<void, decltype(&std::free)> aligned(std::aligned_alloc(kContentPageBytes, kBytes),
                                                              &std::free);
    std::memcpy(aligned.get(), block.data(), kBytes);
    ASSERT_TRUE(device->Store(aligned.get(), kBytes));
    EXPECT_NEAR(device->Ratio() / GetParam(), 1.0, 0.15) << algorithm;
  }
}

INSTANTIATE_TEST_SUITE_P(Ratios, CompressibleTest,
                         ::testing::Values(1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0));

TEST(MixWordTest, DifferentCountersGiveDifferentWords) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t counter = 0; counter < 10000; ++counter) seen.insert(MixWord(counter));
  EXPECT_EQ(seen.size(), 10000U);
}

}  // namespace
}  // namespace ballast::pressure
