#include "worker/memory/reclaim.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::memory {
namespace {

using ::testing::ElementsAre;

constexpr std::size_t kMiB = 1U << 20U;

std::vector<std::string> Names(const v1::OptimiseResult& result) {
  std::vector<std::string> names;
  for (const v1::OptimiseStep& step : result.steps()) names.push_back(step.name());
  return names;
}

TEST(ReclaimTest, WhatIsRegisteredIsDroppedInOrderOfPriority) {
  Reclaim reclaim;
  const auto nothing = [] { return std::uint64_t{0}; };
  const auto model = reclaim.Add("model", 9, nothing);
  const auto tiles = reclaim.Add("tiles", 1, nothing);
  const auto thumbnails = reclaim.Add("thumbnails", 1, nothing);
  EXPECT_THAT(Names(reclaim.Run()), ElementsAre("malloc_trim", "tiles", "thumbnails", "model"));
  reclaim.Remove(tiles);
  EXPECT_THAT(Names(reclaim.Run()), ElementsAre("malloc_trim", "thumbnails", "model"));
}

TEST(ReclaimTest, WhatIsFreedIsMeasuredAndNotBelieved) {
  Reclaim reclaim;
  constexpr std::size_t kBytes = 64 * kMiB;
  void* const memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  const auto real = reclaim.Add("real", 1, [memory] {
    ::munmap(memory, kBytes);
    return kBytes;
  });
  const auto boast = reclaim.Add("boast", 2, [] { return std::uint64_t{1} << 40U; });
  const v1::OptimiseResult result = reclaim.Run();
  ASSERT_EQ(result.steps_size(), 3);
  EXPECT_NEAR(static_cast<double>(result.steps(1).freed_bytes()), kBytes, 4.0 * kMiB);
  EXPECT_EQ(result.steps(2).claimed_bytes(), std::uint64_t{1} << 40U);
  EXPECT_NEAR(static_cast<double>(result.steps(2).freed_bytes()), 0, 4.0 * kMiB);
  EXPECT_GE(result.freed_bytes(), static_cast<std::int64_t>(60 * kMiB));
}

TEST(ReclaimTest, WhatTheAllocatorKeepsGoesBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(BALLAST_THREAD_SANITIZER)
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  // Small blocks below one that stays: the allocator cannot shrink the heap by itself.
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < 64 * kMiB / 1024; ++i) {
    blocks.push_back(std::malloc(1000));
    std::memset(blocks.back(), 1, 1000);
  }
  void* const last = std::malloc(1000);
  for (void* const block : blocks) std::free(block);
  Reclaim reclaim;
  EXPECT_GE(reclaim.Run().steps(0).freed_bytes(), static_cast<std::int64_t>(32 * kMiB));
  std::free(last);
}

TEST(ReclaimTest, WhatDropsMayChangeTheList) {
  Reclaim reclaim;
  std::shared_ptr<Reclaim::Entry> second;
  std::shared_ptr<Reclaim::Entry> added;
  const auto first = reclaim.Add("first", 1, [&] {
    reclaim.Remove(second);
    if (!added) added = reclaim.Add("added", 0, [] { return std::uint64_t{0}; });
    return std::uint64_t{0};
  });
  second = reclaim.Add("second", 2, [] { return std::uint64_t{0}; });
  EXPECT_THAT(Names(reclaim.Run()), ElementsAre("malloc_trim", "first"));
  EXPECT_THAT(Names(reclaim.Run()), ElementsAre("malloc_trim", "added", "first"));
}

}  // namespace
}  // namespace ballast::memory
