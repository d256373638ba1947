#include "worker/pressure/backing_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace ballast::pressure {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kMiB = 1U << 20U;

class BackingFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::current_path() / "backing-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    while (mounts_-- > 0) ::umount2(directory_.c_str(), MNT_DETACH);
    std::filesystem::remove_all(directory_);
  }

  // Bytes on the disk.
  static std::size_t AllocatedBytes(const BackingFile& file) {
    struct stat status {};
    EXPECT_EQ(::fstat(file.fd(), &status), 0);
    return static_cast<std::size_t>(status.st_blocks) * 512;
  }

  std::filesystem::path directory_;
  int mounts_ = 0;
};

TEST_F(BackingFileTest, HasNoNameAndRealBlocks) {
  auto file = BackingFile::CreateOnDisk(directory_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
  ASSERT_TRUE(file->Resize(8 * kMiB).ok());
  EXPECT_EQ(file->size_bytes(), 8 * kMiB);
  EXPECT_GE(AllocatedBytes(*file), 8 * kMiB);
  ASSERT_TRUE(file->Resize(kMiB).ok());
  EXPECT_LT(AllocatedBytes(*file), 2 * kMiB);
}

TEST_F(BackingFileTest, SharedMemoryGivesItsPagesBack) {
  auto file = BackingFile::CreateShared();
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Resize(4 * kMiB).ok());
  const std::string text(2 * kMiB, 'x');
  ASSERT_EQ(::pwrite(file->fd(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(AllocatedBytes(*file), 2 * kMiB);
  ASSERT_TRUE(file->Resize(kMiB).ok());
  EXPECT_EQ(AllocatedBytes(*file), kMiB);
}

TEST_F(BackingFileTest, NeedsADirectoryOnADisk) {
  EXPECT_EQ(BackingFile::CreateOnDisk({}).status().code(), absl::StatusCode::kFailedPrecondition);
  const absl::Status missing = BackingFile::CreateOnDisk(directory_ / "missing").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(directory_.string()));
  if (::mount("none", directory_.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "no right to mount";
  ++mounts_;
  const absl::Status in_memory = BackingFile::CreateOnDisk(directory_).status();
  EXPECT_EQ(in_memory.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(in_memory.message()), HasSubstr("tmpfs"));
}

TEST_F(BackingFileTest, AFullDiskIsRefusedByNameAndKeepsRoomForTheRecords) {
  const std::filesystem::path image = directory_.string() + ".image";
  {
    const base::Fd made(::open(image.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    ASSERT_TRUE(made.valid());
    ASSERT_EQ(::ftruncate(made.get(), 128 * kMiB), 0);
  }
  const std::string command = "mkfs.ext4 -q -F -m 0 " + image.string() + " 2>/dev/null && mount -o loop " +
                              image.string() + " " + directory_.string() + " 2>/dev/null";
  const bool mounted = std::system(command.c_str()) == 0;
  std::filesystem::remove(image);  // the mount keeps it
  if (!mounted) GTEST_SKIP() << "no right to mount a filesystem of the test's own";
  ++mounts_;

  auto file = BackingFile::CreateOnDisk(directory_);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Resize(16 * kMiB).ok());
  const absl::Status full = file->Resize(100 * kMiB);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_THAT(std::string(full.message()), HasSubstr("disk of " + directory_.string()));
  EXPECT_EQ(file->size_bytes(), 16 * kMiB);
  EXPECT_LT(AllocatedBytes(*file), 18 * kMiB);
  const auto space = std::filesystem::space(directory_);
  EXPECT_GE(space.available, 64 * kMiB);
  file = BackingFile::CreateShared();  // closes it, so that the disk can be unmounted
}

}  // namespace
}  // namespace ballast::pressure
