#include "common/base/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::base {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "ballast-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path directory_;
};

TEST_F(FileTest, WritesAndReadsBack) {
  const std::string content("line\n\0more\xff", 11);
  const fs::path path = directory_ / "a.json";
  ASSERT_TRUE(WriteFileAtomically(path, content).ok());
  EXPECT_EQ(ReadFile(path).value(), content);
  EXPECT_THAT(Names(), ElementsAre("a.json"));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0644U);
}

TEST_F(FileTest, APathEndsNowhereInTheMiddle) {
  EXPECT_EQ(OpenFile(std::string("/etc/passwd\0.gguf", 17), O_RDONLY).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(FileTest, ReplacesAnOldFileWhole) {
  const fs::path path = directory_ / "a";
  ASSERT_TRUE(WriteFileAtomically(path, std::string(100'000, 'x')).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  EXPECT_EQ(ReadFile(path).value(), "new");
}

TEST_F(FileTest, WritesBesideTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(directory_);
  const absl::Status status = WriteFileAtomically("plain", "x");
  fs::current_path(before);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(Names(), ElementsAre("plain"));
}

TEST_F(FileTest, FailedRenameLeavesNothing) {
  const fs::path target = directory_ / "taken";
  fs::create_directory(target);
  const absl::Status status = WriteFileAtomically(target, "x");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(target.string()));
  EXPECT_THAT(Names(), ElementsAre("taken"));
  EXPECT_TRUE(fs::is_directory(target));
}

// A limit on the size of files stands in for a full disk: the write fails after a part of it has been done.
TEST_F(FileTest, FailedWriteLeavesTheOldFileAndNothingElse) {
  const fs::path path = directory_ / "a";
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  auto* const handler_before = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteFileAtomically(path, std::string(100'000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler_before);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(directory_.string()));
  EXPECT_EQ(ReadFile(path).value(), "old");
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(FileTest, MissingDirectoryIsNamed) {
  const absl::Status status = WriteFileAtomically(directory_ / "none" / "a", "x");
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr((directory_ / "none").string()));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileTest, ReadRefusesMissingAndTooLarge) {
  const fs::path path = directory_ / "a";
  EXPECT_TRUE(absl::IsNotFound(ReadFile(path).status()));
  ASSERT_TRUE(WriteFileAtomically(path, std::string(100, 'x')).ok());
  EXPECT_TRUE(ReadFile(path, 100).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ReadFile(path, 99).status()));
  // What never ends is bounded too.
  EXPECT_TRUE(absl::IsResourceExhausted(ReadFile("/dev/zero", 1'000'000).status()));
  EXPECT_FALSE(ReadFile(directory_).ok());
}

TEST_F(FileTest, OpensWithoutLeakingIntoChildren) {
  const auto fd = OpenFile(directory_ / "new", O_WRONLY | O_CREAT, 0600);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(FileTest, WriteAllGoesThroughShortWrites) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const std::string data(1'000'000, 'y');  // far more than a pipe holds
  std::string received;
  std::jthread thread([&] {
    std::array<char, 4096> buffer{};
    ssize_t n = 0;
    while ((n = ::read(reader.get(), buffer.data(), buffer.size())) > 0)
      received.append(buffer.data(), static_cast<std::size_t>(n));
  });
  EXPECT_TRUE(WriteAll(writer.get(), data).ok());
  writer.Reset();
  thread.join();
  EXPECT_EQ(received, data);
  EXPECT_FALSE(WriteAll(-1, "x").ok());
}

TEST_F(FileTest, MakesDirectoriesThatCanBeWritten) {
  const fs::path nested = directory_ / "a" / "b";
  ASSERT_TRUE(EnsureWritableDirectory(nested).ok());
  EXPECT_TRUE(fs::is_directory(nested));
  EXPECT_TRUE(EnsureWritableDirectory(nested).ok());
  EXPECT_TRUE(SyncDirectory(nested).ok());
  const fs::path own = directory_ / "c" / "own" / "";
  ASSERT_TRUE(EnsureWritableDirectory(own, kPrivateDirectoryMode).ok());
  EXPECT_EQ(fs::status(own).permissions(), fs::perms::owner_all);
  EXPECT_TRUE(EnsureWritableDirectory(nested, kPrivateDirectoryMode).ok());
  EXPECT_NE(fs::status(nested).permissions(), fs::perms::owner_all) << "what is there stays as somebody made it";

  ASSERT_TRUE(WriteFileAtomically(directory_ / "file", "x").ok());
  const absl::Status status = EnsureWritableDirectory(directory_ / "file");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_FALSE(EnsureWritableDirectory(directory_ / "file" / "below").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(EnsureWritableDirectory("/sys"))) << "a place where nobody can write";
}

}  // namespace
}  // namespace ballast::base
