#include "common/base/partial_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/sha256.h"
#include "tests/unit/common/base/small_disk.h"

namespace ballast::base {
namespace {

using ::testing::HasSubstr;

std::string DigestOf(const std::string& content) {
  Sha256 sha256;
  sha256.Update(content);
  return sha256.Finish();
}

class PartialFileTest : public ::testing::Test {
 protected:
  PartialFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-partial-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~PartialFileTest() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<PartialFile> Open(const std::string& content) {
    return PartialFile::Open({.path = path(), .size_bytes = content.size(), .sha256 = DigestOf(content)}, {});
  }
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "file"; }
  [[nodiscard]] std::filesystem::path partial() const { return directory_ / "file.partial"; }

  std::filesystem::path directory_;
};

TEST_F(PartialFileTest, HasItsNameOnlyWhenItIsWhole) {
  const std::string content(100'000, 'c');
  auto file = Open(content);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Append(content).ok());
  EXPECT_TRUE(file->complete());
  EXPECT_FALSE(std::filesystem::exists(path()));
  ASSERT_TRUE(file->Verify().ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(ReadFile(path()).value(), content);
  EXPECT_FALSE(std::filesystem::exists(partial()));
}

TEST_F(PartialFileTest, GoesOnWhereTheOneBeforeWasBrokenOff) {
  const std::string content = std::string(40'000'000, 'a') + "the end";
  {
    auto file = Open(content);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Append(std::string_view(content).substr(0, 36'000'000)).ok());
  }
  auto file = Open(content);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size_bytes(), 36'000'000U);
  ASSERT_TRUE(file->Append(std::string_view(content).substr(36'000'000)).ok());
  EXPECT_TRUE(file->Verify().ok());
}

TEST_F(PartialFileTest, WhatIsNotWhatWasAnnouncedGetsNoName) {
  auto file = Open("announced");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Append("something").ok());
  const absl::Status status = file->Verify();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr(DigestOf("announced")));
  file->Discard();
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(PartialFileTest, MoreThanWasAnnouncedIsRefused) {
  auto file = Open("four");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(file->Append("five5")));
  EXPECT_EQ(file->size_bytes(), 0U);
}

TEST_F(PartialFileTest, WhatIsLongerThanTheFileIsBegunAnew) {
  std::ofstream(partial()) << "much longer than that";
  auto file = Open("short");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size_bytes(), 0U);
}

TEST(PartialFileOnAFullDiskTest, IsRefusedBeforeAByteIsWritten) {
  const SmallDisk disk(8U << 20U);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  const auto file = PartialFile::Open({.path = disk.path() / "file", .size_bytes = 20U << 20U, .sha256 = ""}, {});
  EXPECT_TRUE(absl::IsResourceExhausted(file.status())) << file.status();
  EXPECT_THAT(file.status().message(), HasSubstr("20 MiB are needed"));
}

TEST(PartialFileOnAFullDiskTest, KeepsWhatCameWhenOthersFillTheDisk) {
  const SmallDisk disk(16U << 20U);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  const std::string content(10U << 20U, 'c');
  const PartialFileOptions options{
      .path = disk.path() / "file", .size_bytes = content.size(), .sha256 = DigestOf(content)};
  {
    auto file = PartialFile::Open(options, {});
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Append(std::string_view(content).substr(0, 4U << 20U)).ok());
    disk.Fill(9U << 20U);
    const absl::Status status = file->Append(std::string_view(content).substr(4U << 20U));
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("has no room"));
  }
  disk.Free();
  auto file = PartialFile::Open(options, {});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_GE(file->size_bytes(), 4U << 20U);
  ASSERT_TRUE(file->Append(std::string_view(content).substr(file->size_bytes())).ok());
  EXPECT_TRUE(file->Verify().ok());
}

TEST(PartialFileOnAFullDiskTest, LeavesTheReserveToOthers) {
  const SmallDisk disk(128U << 20U);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  auto file = PartialFile::Open({.path = disk.path() / "file",
                                 .size_bytes = 80U << 20U,
                                 .sha256 = std::string(64, '0'),
                                 .reserve_bytes = 32U << 20U},
                                {});
  ASSERT_TRUE(file.ok()) << file.status();
  disk.Fill(30U << 20U);
  absl::Status status;
  const std::string piece(1U << 20U, 'p');
  while (status.ok() && !file->complete()) status = file->Append(piece);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_GE(FreeDiskBytes(disk.path()).value(), 32U << 20U);
}

}  // namespace
}  // namespace ballast::base
