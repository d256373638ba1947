#include "worker/model/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <stop_token>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/fd.h"
#include "tests/unit/worker/model/model_directory.h"

namespace ballast::model {
namespace {

constexpr std::size_t kFileBytes = (8U << 20U) + 100;
constexpr std::uint64_t kFilePages = 2049;

class PageCacheTest : public testing::Test {
 protected:
  ModelDirectory directory_;
  std::vector<std::filesystem::path> files_ = {directory_.WriteRandom("a", kFileBytes),
                                               directory_.WriteRandom("b", kFileBytes)};
  std::stop_source stop_;
};

TEST_F(PageCacheTest, ColdFilesAreNotCached) {
  const absl::StatusOr<CacheFinding> finding = PrepareCache(files_, v1::COLD, stop_.get_token());
  ASSERT_TRUE(finding.ok()) << finding.status();
  EXPECT_EQ(finding->state, v1::COLD) << finding->remark;
  EXPECT_EQ(finding->pages->total_pages, 2 * kFilePages);
  EXPECT_EQ(finding->pages->cached_pages, 0U);
  EXPECT_EQ(finding->remark, "");
}

TEST_F(PageCacheTest, WarmFilesAreCachedWhateverWasBefore) {
  ASSERT_TRUE(Evict(files_).ok());
  const absl::StatusOr<CacheFinding> finding = PrepareCache(files_, v1::WARM, stop_.get_token());
  ASSERT_TRUE(finding.ok()) << finding.status();
  EXPECT_EQ(finding->state, v1::WARM) << finding->remark;
  EXPECT_EQ(finding->pages->cached_pages, 2 * kFilePages);
}

TEST_F(PageCacheTest, AsItIsChangesNothing) {
  ASSERT_TRUE(Evict(files_).ok());
  ASSERT_TRUE(Warm(std::vector{files_[0]}, stop_.get_token()).ok());
  const absl::StatusOr<CacheFinding> finding = PrepareCache(files_, v1::AS_IS, stop_.get_token());
  ASSERT_TRUE(finding.ok()) << finding.status();
  EXPECT_EQ(finding->state, v1::AS_IS);
  EXPECT_EQ(finding->pages->cached_pages, kFilePages);
  EXPECT_EQ(finding->remark, "");
}

TEST_F(PageCacheTest, PagesThatSomebodyMapsStayAndAreTold) {
  const base::Fd fd(::open(files_[0].c_str(), O_RDONLY | O_CLOEXEC));
  void* const mapping = ::mmap(nullptr, kFileBytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  const absl::StatusOr<CacheFinding> finding = PrepareCache(files_, v1::COLD, stop_.get_token());
  ::munmap(mapping, kFileBytes);
  ASSERT_TRUE(finding.ok()) << finding.status();
  EXPECT_EQ(finding->state, v1::AS_IS);
  EXPECT_GE(finding->pages->cached_pages, kFilePages);
  EXPECT_THAT(finding->remark, testing::HasSubstr("maps or locks it"));
}

TEST_F(PageCacheTest, AFileLargerThanTheWindowIsCountedWhole) {
  const std::filesystem::path sparse = directory_.Write("sparse", "x");
  std::filesystem::resize_file(sparse, (600U << 20U) + 1);
  const absl::StatusOr<CachedPages> pages = CountCachedPages(std::vector{sparse});
  ASSERT_TRUE(pages.ok()) << pages.status();
  EXPECT_EQ(pages->total_pages, 153601U);
  EXPECT_LE(pages->cached_pages, 1U);
}

TEST_F(PageCacheTest, SomebodyElsesFilesAreNotJudged) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a file of somebody else's";
  ASSERT_TRUE(Evict(files_).ok());
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  for (const auto& file : files_) std::filesystem::permissions(file, std::filesystem::perms(0644));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(10);
    const absl::StatusOr<CacheFinding> finding = PrepareCache(files_, v1::AS_IS, std::stop_token());
    if (!finding.ok()) ::_exit(11);
    ::_exit(finding->state == v1::CACHE_STATE_UNSPECIFIED && !finding->pages && !finding->remark.empty() ? 0 : 12);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(PageCacheTest, AMissingFileIsNamed) {
  const absl::StatusOr<CacheFinding> finding =
      PrepareCache(std::vector{directory_.path() / "none"}, v1::COLD, stop_.get_token());
  EXPECT_TRUE(absl::IsNotFound(finding.status()));
  EXPECT_THAT(std::string(finding.status().message()), testing::HasSubstr("none"));
}

TEST_F(PageCacheTest, APipeIsRefused) {
  const std::filesystem::path pipe = directory_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(CountCachedPages(std::vector{pipe}).status()));
}

TEST_F(PageCacheTest, WarmingStops) {
  stop_.request_stop();
  EXPECT_TRUE(absl::IsCancelled(PrepareCache(files_, v1::WARM, stop_.get_token()).status()));
}

TEST(JudgeCacheTest, OnePercentDecides) {
  EXPECT_EQ(JudgeCache({.total_pages = 1000, .cached_pages = 9}), v1::COLD);
  EXPECT_EQ(JudgeCache({.total_pages = 1000, .cached_pages = 10}), v1::AS_IS);
  EXPECT_EQ(JudgeCache({.total_pages = 1000, .cached_pages = 990}), v1::AS_IS);
  EXPECT_EQ(JudgeCache({.total_pages = 1000, .cached_pages = 991}), v1::WARM);
}

}  // namespace
}  // namespace ballast::model
