#include "worker/pressure/page_filler.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <unordered_set>

#include "worker/pressure/page_block.h"

namespace ballast::pressure {
namespace {

constexpr std::size_t kMiB = 1U << 20U;

class PageFillerTest : public ::testing::TestWithParam<unsigned> {
 protected:
  static constexpr std::size_t kBytes = 32 * kMiB;

  void SetUp() override {
    begin_ =
        static_cast<std::byte*>(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(static_cast<void*>(begin_), MAP_FAILED);
    v1::PageContent content;
    content.set_kind(v1::PageContent::RANDOM);
    auto filler = PageFiller::Create(content, GetParam(), Populate::kBulk);
    ASSERT_TRUE(filler.ok()) << filler.status();
    filler_ = *std::move(filler);
  }
  void TearDown() override { ::munmap(begin_, kBytes); }

  [[nodiscard]] std::uint64_t MarkAt(std::size_t offset) const {
    std::uint64_t mark = 0;
    std::memcpy(&mark, begin_ + offset, sizeof mark);
    return mark;
  }

  std::byte* begin_ = nullptr;
  std::unique_ptr<PageFiller> filler_;
};

TEST_P(PageFillerTest, TellsOfEachPartOnce) {
  std::array<std::atomic<int>, kBytes / kContentPageBytes> told{};
  std::size_t filled = 0;
  ASSERT_TRUE(filler_
                  ->Fill(
                      begin_, kBytes, {},
                      [&](std::size_t offset, std::size_t bytes) {
                        for (std::size_t page = 0; page < bytes; page += kContentPageBytes) {
                          ++told[(offset + page) / kContentPageBytes];
                        }
                      },
                      &filled)
                  .ok());
  EXPECT_EQ(filled, kBytes);
  for (const auto& count : told) ASSERT_EQ(count, 1);
}

// A hole in the mapping is a refusal that one thread meets while the others go on.
TEST_P(PageFillerTest, ARefusalLeavesExactlyWhatIsBeforeIt) {
  constexpr std::size_t kHole = 20 * kMiB;
  ASSERT_EQ(::munmap(begin_ + kHole, kMiB), 0);
  std::size_t filled = 0;
  const absl::Status status = filler_->Fill(begin_, kBytes, {}, {}, &filled);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(filled, kHole);
  std::unordered_set<std::uint64_t> marks;
  for (std::size_t offset = 0; offset < filled; offset += kContentPageBytes) marks.insert(MarkAt(offset));
  EXPECT_EQ(marks.size(), kHole / kContentPageBytes);
  EXPECT_FALSE(marks.contains(0));
}

TEST_P(PageFillerTest, AStopLeavesNoGap) {
  std::stop_source stop;
  std::size_t filled = 0;
  const absl::Status status = filler_->Fill(
      begin_, kBytes, stop.get_token(),
      [&](std::size_t offset, std::size_t) {
        if (offset >= 8 * kMiB) stop.request_stop();
      },
      &filled);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_GT(filled, 8 * kMiB);
  EXPECT_LT(filled, kBytes);
  for (std::size_t offset = 0; offset < filled; offset += kContentPageBytes) ASSERT_NE(MarkAt(offset), 0U) << offset;
}

INSTANTIATE_TEST_SUITE_P(Threads, PageFillerTest, ::testing::Values(1U, 2U, 4U));

}  // namespace
}  // namespace ballast::pressure
