#include "common/base/sha256.h"

#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"

namespace ballast::base {
namespace {

using ::testing::HasSubstr;

// From FIPS 180-4's examples.
TEST(Sha256Test, KnownDigests) {
  Sha256 sha256;
  EXPECT_EQ(sha256.Finish(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  sha256.Update("abc");
  EXPECT_EQ(sha256.Finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, PiecesAreOneText) {
  Sha256 sha256;
  for (int i = 0; i < 1'000'000; i += 1000) sha256.Update(std::string(1000, 'a'));
  EXPECT_EQ(sha256.Finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, IsSha256TakesLowerCaseDigitsAlone) {
  EXPECT_TRUE(IsSha256(std::string(64, 'a')));
  EXPECT_FALSE(IsSha256(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256(std::string(63, 'a')));
  EXPECT_FALSE(IsSha256("../" + std::string(61, 'a')));
}

class ReadInPiecesTest : public ::testing::Test {
 protected:
  ReadInPiecesTest()
      : path_(std::filesystem::temp_directory_path() / ("ballast-pieces-" + std::to_string(::getpid()))) {
    std::ofstream(path_, std::ios::binary) << std::string((2U << 20U) + 5, 'x');
  }
  ~ReadInPiecesTest() override { std::filesystem::remove(path_); }
  const std::filesystem::path path_;
};

TEST_F(ReadInPiecesTest, EveryByteOnceInOrder) {
  const auto fd = OpenFile(path_, O_RDONLY);
  ASSERT_TRUE(fd.ok());
  std::uint64_t bytes = 0;
  const absl::Status status = ReadInPieces(fd->get(), (2U << 20U) + 5, "file", {}, [&bytes](std::string_view piece) {
    bytes += piece.size();
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(bytes, (2U << 20U) + 5);
}

TEST_F(ReadInPiecesTest, AShorterFileAndAWishToStopAreErrors) {
  const auto fd = OpenFile(path_, O_RDONLY);
  ASSERT_TRUE(fd.ok());
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  EXPECT_THAT(ReadInPieces(fd->get(), 3U << 20U, "file", {}, ignore).message(), HasSubstr("file ends after"));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(ReadInPieces(fd->get(), 1, "file", stop.get_token(), ignore)));
}

}  // namespace
}  // namespace ballast::base
