#include "common/models/digest_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/models/model_files.h"

namespace ballast::models {
namespace {

using ::testing::HasSubstr;

std::chrono::system_clock::time_point Soon() {
  return std::chrono::system_clock::now() + std::chrono::seconds(30);
}
std::chrono::system_clock::time_point Past() {
  return std::chrono::system_clock::now() - std::chrono::seconds(1);
}

using DigestCacheTest = DirectoryTest;

TEST_F(DigestCacheTest, IsComputedOnceAndKept) {
  const auto file = Write("file", "content");
  {
    DigestCache cache(directory_ / "digests");
    const auto digest = cache.Get(file, Soon());
    ASSERT_TRUE(digest.ok()) << digest.status();
    EXPECT_EQ(digest->sha256(), DigestOf("content"));
    EXPECT_EQ(digest->size_bytes(), 7U);
  }
  DigestCache again(directory_ / "digests");
  EXPECT_TRUE(again.Get(file, Past()).ok()) << "known from the last time: there is nothing to wait for";
  EXPECT_TRUE(again.Find(DigestOf("content")).ok());
}

TEST_F(DigestCacheTest, AFileThatWasChangedIsAnotherFile) {
  const auto file = Write("file", "content");
  DigestCache cache(directory_ / "digests");
  ASSERT_TRUE(cache.Get(file, Soon()).ok());
  Write("file", "kontent");  // as long as before
  EXPECT_TRUE(absl::IsDataLoss(cache.Find(DigestOf("content")).status())) << cache.Find(DigestOf("content")).status();
  const auto digest = cache.Get(file, Soon());
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(digest->sha256(), DigestOf("kontent"));
}

TEST_F(DigestCacheTest, WhoCannotWaitIsToldHowFarItIs) {
  const auto file = directory_ / "large";
  { const base::Fd fd = base::OpenFile(file, O_RDWR | O_CREAT).value(); }
  ASSERT_EQ(::truncate(file.c_str(), 2'000'000'000), 0);  // a hole: takes no disk, and a second to read
  DigestCache cache(directory_ / "digests");
  const absl::Status status = cache.Get(file, Past()).status();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("of 1.86 GiB so far"));
}

TEST_F(DigestCacheTest, WhatCannotBeReadIsNamed) {
  DigestCache cache(directory_ / "digests");
  const absl::Status missing = cache.Get(directory_ / "none", Soon()).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(missing.message(), HasSubstr("none"));
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(cache.Get(directory_ / "pipe", Soon()).status()));
  EXPECT_TRUE(absl::IsNotFound(cache.Find(std::string(64, '0')).status()));
}

TEST_F(DigestCacheTest, ADamagedListCountsAsNone) {
  Write("digests", "\xff\xff\xff no message");
  DigestCache cache(directory_ / "digests");
  EXPECT_TRUE(cache.Get(Write("file", "content"), Soon()).ok());
}

}  // namespace
}  // namespace ballast::models
