#include "worker/pressure/held_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdlib>
#include <cstring>
#include <unordered_set>
#include <vector>

#include "worker/pressure/page_block.h"

namespace ballast::pressure {
namespace {

constexpr std::size_t kMiB = 1U << 20U;

// The thread sanitizer writes four bytes of its own for each that the program writes, so resident bytes say nothing
// there.
#ifdef BALLAST_THREAD_SANITIZER
constexpr bool kCountsOwnMemoryOnly = false;
#else
constexpr bool kCountsOwnMemoryOnly = true;
#endif

// The kernel counts resident pages in batches of at most 64 on each processor.
std::uint64_t CountTolerance() {
  return static_cast<std::uint64_t>(::sysconf(_SC_NPROCESSORS_ONLN)) * 64 *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

v1::PageContent Content(v1::PageContent::Kind kind) {
  v1::PageContent content;
  content.set_kind(kind);
  content.set_compression_ratio(2);
  return content;
}

HeldMemory Make(v1::PageContent::Kind kind = v1::PageContent::RANDOM,
                HeldMemory::Populate populate = HeldMemory::Populate::kBulk) {
  auto memory = HeldMemory::Create(Content(kind), populate);
  EXPECT_TRUE(memory.ok()) << memory.status();
  return *std::move(memory);
}

std::uint64_t Resident(HeldMemory& memory) {
  const auto resident = memory.ResidentBytes();
  EXPECT_TRUE(resident.ok()) << resident.status();
  return resident.value_or(0);
}

// Of the pages of all segments, those that mincore says are in memory.
std::size_t PagesInMemory(const HeldMemory& memory) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t count = 0;
  for (const HeldMemory::Segment& segment : memory.segments()) {
    std::vector<unsigned char> states(segment.bytes / page);
    EXPECT_EQ(::mincore(segment.begin, segment.bytes, states.data()), 0);
    for (const unsigned char state : states) count += state & 1U;
  }
  return count;
}

class HeldMemoryContentTest : public ::testing::TestWithParam<std::tuple<v1::PageContent::Kind, HeldMemory::Populate>> {
};

TEST_P(HeldMemoryContentTest, EveryPageIsResident) {
  HeldMemory memory = Make(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const std::uint64_t before = Resident(memory);
  ASSERT_TRUE(memory.Grow(100 * kMiB, {}).ok());
  EXPECT_EQ(memory.held_bytes(), 100 * kMiB);
  EXPECT_EQ(PagesInMemory(memory), 100 * kMiB / static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  EXPECT_NEAR(static_cast<double>(Resident(memory) - before), 100.0 * kMiB, 1.0 * kMiB);
}

INSTANTIATE_TEST_SUITE_P(
    All, HeldMemoryContentTest,
    ::testing::Combine(::testing::Values(v1::PageContent::RANDOM, v1::PageContent::ZERO, v1::PageContent::COMPRESSIBLE),
                       ::testing::Values(HeldMemory::Populate::kBulk, HeldMemory::Populate::kTouch)));

TEST(HeldMemoryTest, PagesAreUniqueAndDoNotCompress) {
  HeldMemory memory = Make();
  ASSERT_TRUE(memory.Grow(8 * kMiB, {}).ok());
  ASSERT_TRUE(memory.Grow(8 * kMiB, {}).ok());
  std::unordered_set<std::uint64_t> marks;
  std::vector<char> out(ZSTD_compressBound(kContentPageBytes));
  std::size_t pages = 0;
  for (const HeldMemory::Segment& segment : memory.segments()) {
    for (std::size_t offset = 0; offset < segment.bytes; offset += kContentPageBytes, ++pages) {
      std::uint64_t mark = 0;
      std::memcpy(&mark, segment.begin + offset, sizeof mark);
      marks.insert(mark);
      if (pages % 37 != 0) continue;
      const std::size_t size = ZSTD_compress(out.data(), out.size(), segment.begin + offset, kContentPageBytes, 1);
      EXPECT_LT(static_cast<double>(kContentPageBytes) / static_cast<double>(size), 1.02);
    }
  }
  EXPECT_EQ(pages, 16 * kMiB / kContentPageBytes);
  EXPECT_EQ(marks.size(), pages);
}

TEST(HeldMemoryTest, TwoHoldersShareNoPage) {
  HeldMemory first = Make();
  HeldMemory second = Make();
  ASSERT_TRUE(first.Grow(kMiB, {}).ok());
  ASSERT_TRUE(second.Grow(kMiB, {}).ok());
  EXPECT_NE(std::memcmp(first.segments()[0].begin, second.segments()[0].begin, kContentPageBytes), 0);
}

TEST(HeldMemoryTest, ShrinkingReturnsThePages) {
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  HeldMemory memory = Make();
  const std::uint64_t before = Resident(memory);
  ASSERT_TRUE(memory.Grow(64 * kMiB, {}).ok());
  memory.Shrink(24 * kMiB);
  EXPECT_EQ(memory.held_bytes(), 40 * kMiB);
  EXPECT_NEAR(static_cast<double>(Resident(memory) - before), 40.0 * kMiB, static_cast<double>(CountTolerance()));
  memory.Shrink(1000 * kMiB);
  EXPECT_EQ(memory.held_bytes(), 0U);
  EXPECT_TRUE(memory.segments().empty());
  EXPECT_NEAR(static_cast<double>(Resident(memory)), static_cast<double>(before),
              static_cast<double>(CountTolerance()));
}

TEST(HeldMemoryTest, GrowingAndShrinkingInSmallPiecesLeavesFewMappings) {
  HeldMemory memory = Make();
  ASSERT_TRUE(memory.Grow(8 * kMiB, {}).ok());
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(memory.Grow(60000, {}).ok());
    if (i % 3 == 0) memory.Shrink(30000);
  }
  EXPECT_LT(memory.segments().size(), 20U);
  EXPECT_EQ(PagesInMemory(memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), memory.held_bytes());
}

TEST(HeldMemoryTest, RoundsUpToWholePages) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  HeldMemory memory = Make();
  ASSERT_TRUE(memory.Grow(1, {}).ok());
  EXPECT_EQ(memory.held_bytes(), page);
  ASSERT_TRUE(memory.Grow(page + 1, {}).ok());
  EXPECT_EQ(memory.held_bytes(), 3 * page);
  memory.Shrink(1);
  EXPECT_EQ(memory.held_bytes(), 2 * page);
  EXPECT_TRUE(memory.Grow(0, {}).ok());
  EXPECT_EQ(memory.held_bytes(), 2 * page);
}

TEST(HeldMemoryTest, DestructionAndAssignmentUnmap) {
  if (!kCountsOwnMemoryOnly) GTEST_SKIP() << "resident bytes are the sanitizer's";
  HeldMemory probe = Make();
  const std::uint64_t before = Resident(probe);
  {
    HeldMemory memory = Make();
    ASSERT_TRUE(memory.Grow(32 * kMiB, {}).ok());
    HeldMemory moved = std::move(memory);
    EXPECT_EQ(moved.held_bytes(), 32 * kMiB);
    ASSERT_TRUE(probe.Grow(32 * kMiB, {}).ok());
    probe = std::move(moved);
    EXPECT_EQ(probe.held_bytes(), 32 * kMiB);
    EXPECT_NEAR(static_cast<double>(Resident(probe) - before), 32.0 * kMiB,
                static_cast<double>(CountTolerance()) + 256.0 * 1024);
  }
  probe.Shrink(probe.held_bytes());
  EXPECT_NEAR(static_cast<double>(Resident(probe)), static_cast<double>(before),
              static_cast<double>(CountTolerance()) + 256.0 * 1024);
}

TEST(HeldMemoryTest, AStopEndsTheFillAndKeepsWhatWasFilled) {
  std::stop_source stop;
  stop.request_stop();
  HeldMemory memory = Make();
  EXPECT_EQ(memory.Grow(64 * kMiB, stop.get_token()).code(), absl::StatusCode::kCancelled);
  EXPECT_LE(memory.held_bytes(), 8 * kMiB);
  EXPECT_EQ(PagesInMemory(memory) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), memory.held_bytes());
}

TEST(HeldMemoryTest, SizesBeyondAnyAddressSpaceAreRefused) {
  HeldMemory memory = Make();
  EXPECT_EQ(memory.Grow(SIZE_MAX, {}).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.Grow(std::size_t{1} << 60U, {}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory.held_bytes(), 0U);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(BALLAST_THREAD_SANITIZER)  // sanitizers need the address space themselves
// In a process of its own, because the limit stays.
TEST(HeldMemoryDeathTest, ARefusalOfTheKernelKeepsWhatIsHeld) {
  EXPECT_EXIT(
      {
        HeldMemory memory = Make();
        rlimit limit{};
        limit.rlim_cur = 512 * kMiB;
        limit.rlim_max = 512 * kMiB;
        if (::setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(1);
        if (!memory.Grow(64 * kMiB, {}).ok()) std::_Exit(2);
        const absl::Status refused = memory.Grow(512 * kMiB, {});
        if (refused.code() != absl::StatusCode::kResourceExhausted) std::_Exit(3);
        if (memory.held_bytes() != 64 * kMiB) std::_Exit(4);
        if (!memory.Grow(16 * kMiB, {}).ok()) std::_Exit(5);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace ballast::pressure
